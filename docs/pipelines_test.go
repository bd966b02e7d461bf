// SPDX-License-Identifier: Apache-2.0

//go:build linux

package docs_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// documents decodes the YAML of a block.
func documents(t *testing.T, text string) []any {
	t.Helper()
	var all []any
	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var document any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		all = append(all, document)
	}
}

// at returns what stands at a path of keys and indexes in a document.
func at(t *testing.T, document any, path ...any) any {
	t.Helper()
	for i, step := range path {
		var next any
		switch node := document.(type) {
		case map[string]any:
			key, _ := step.(string)
			next = node[key]
		case []any:
			if index, isIndex := step.(int); isIndex && index < len(node) {
				next = node[index]
			}
		}
		if next == nil {
			t.Fatalf("there is nothing at %v", path[:i+1])
		}
		document = next
	}
	return document
}

// scriptsIn returns the shell scripts in a document: what CI systems have under
// these keys.
func scriptsIn(document any) []string {
	var scripts []string
	switch node := document.(type) {
	case map[string]any:
		for key, value := range node {
			text, isText := value.(string)
			lines, isList := value.([]any)
			switch {
			case isText && slices.Contains([]string{"run", "bash", "script"}, key):
				scripts = append(scripts, text)
			case isList && key == "script":
				for _, line := range lines {
					scripts = append(scripts, fmt.Sprint(line))
				}
			default:
				scripts = append(scripts, scriptsIn(value)...)
			}
		}
	case []any:
		for _, value := range node {
			scripts = append(scripts, scriptsIn(value)...)
		}
	}
	return scripts
}

// jenkinsScripts returns the scripts of a Jenkinsfile, as Groovy reads them.
func jenkinsScripts(jenkinsfile string) []string {
	var scripts []string
	for _, match := range regexp.MustCompile(`(?s)sh '''(.*?)'''`).FindAllStringSubmatch(jenkinsfile, -1) {
		scripts = append(scripts, strings.ReplaceAll(match[1], `\\`, `\`))
	}
	return scripts
}

// What is YAML or a shell script on a page is read as such.
func TestBlocksOfPagesParse(t *testing.T) {
	checked := map[string]int{}
	for path, content := range pages(t) {
		for _, block := range blocks(content) {
			var scripts []string
			switch block.language {
			case "sh":
				scripts = []string{block.text}
			case "yaml":
				scripts = scriptsIn(documents(t, block.text))
			case "groovy":
				scripts = jenkinsScripts(block.text)
			default:
				continue
			}
			checked[block.language]++
			for _, script := range scripts {
				cmd := exec.CommandContext(t.Context(), "bash", "-n")
				cmd.Stdin = strings.NewReader(script)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%s, line %d: %v: %s\n%s", path, block.line, err, out, script)
				}
			}
		}
	}
	if checked["sh"] < 10 || checked["yaml"] < 5 || checked["groovy"] != 1 {
		t.Errorf("looked at %v", checked)
	}
}

// signingJob is the job of a pipeline that signs: a script, and the variables that the
// pipeline sets for it.
type signingJob struct {
	script    string
	variables map[string]string
}

// pipelines read the signing job from each page. Where the CI system puts something
// in, given has it.
var pipelines = map[string]func(t *testing.T, page string, given map[string]string) signingJob{
	"pipelines/gitlab.md":  gitlabJob,
	"pipelines/azure.md":   azureJob,
	"pipelines/jenkins.md": jenkinsJob,
	"pipelines/tekton.md":  tektonJob,
}

// The signing job of each page takes a build to the registry, signs, verifies and tags,
// when it has what its CI system gives it.
func TestPipelinesOfPagesSign(t *testing.T) {
	testenv.Long(t, "builds the action, and signs with it")
	tools := t.TempDir()
	build(t, tools, "..", "./cmd/notation-pkcs11-action")
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("Release")
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.Generate(testenv.EC256, "signing")
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Certify(key); err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.Trust(pki.Root); err != nil {
		t.Fatal(err)
	}
	layout, folder := testenv.NewLayout(t)
	image, err := testenv.PutImage(t.Context(), layout, "pipelines", "app")
	if err != nil {
		t.Fatal(err)
	}
	archive := testenv.Archive(t, folder, nil)
	root := testenv.PutFile(t, filepath.Join(t.TempDir(), "root.pem"), string(testenv.EncodePEM(pki.Root)))

	for path, read := range pipelines {
		t.Run(path, func(t *testing.T) {
			registry := testenv.Start(t, testenv.NewRegistry)
			workspace := t.TempDir()
			for _, name := range []string{"image.tar", "image/image.tar"} { // where the systems put the build's
				content, err := os.ReadFile(archive)
				if err != nil {
					t.Fatal(err)
				}
				testenv.PutFile(t, filepath.Join(workspace, name), string(content))
			}
			job := read(t, page(t, path), map[string]string{
				"workspace": workspace, "registry": registry.Host, "tag": "v1", "commit": "0123abc", "pin": token.PIN, "user": "ci", "password": "secret",
			})
			// What is of the organization that the page speaks of.
			script := strings.NewReplacer("registry.example/", registry.Host+"/", "/etc/notation-pkcs11/root.pem", root, "O=Example", "O=testenv").Replace(job.script)
			env := append(hsm.Env(), "PATH="+tools+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
			for name, value := range job.variables {
				env = append(env, name+"="+value)
			}
			cmd := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script)
			cmd.Dir, cmd.Env = workspace, env
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, script, out)
			}
			if strings.Contains(string(out), token.PIN) || strings.Contains(script, token.PIN) {
				t.Error("the PIN is in the log, or in the script")
			}
			reports, err := filepath.Glob(filepath.Join(workspace, "report.json"))
			if err != nil || len(reports) != 1 {
				t.Errorf("reports %q, %v", reports, err)
			}
			reference := registry.Host + "/app"
			if verified, err := notation.Run(t.Context(), nil, "verify", reference+":v1"); err != nil || verified.ExitCode != 0 {
				t.Errorf("the tag does not verify: %v\n%s", err, verified.Stderr)
			}
			if verified, err := notation.Run(t.Context(), nil, "verify", reference+"@"+image.Digest.String()); err != nil || verified.ExitCode != 0 {
				t.Errorf("the build does not verify: %v\n%s", err, verified.Stderr)
			}
		})
	}
}

// pipelineYAML decodes the one block of YAML of a page.
func pipelineYAML(t *testing.T, page string) []any {
	t.Helper()
	for _, block := range blocks(page) {
		if block.language == "yaml" {
			return documents(t, block.text)
		}
	}
	t.Fatal("the page has no YAML")
	return nil
}

// expand replaces variables in the values of a map, in the form of a CI system.
func expand(t *testing.T, node any, form string, given map[string]string) map[string]string {
	t.Helper()
	values, isMap := node.(map[string]any)
	if !isMap {
		t.Fatalf("%v is no map", node)
	}
	all := map[string]string{}
	for name, value := range values {
		text := fmt.Sprint(value)
		for variable, is := range given {
			text = strings.ReplaceAll(text, fmt.Sprintf(form, variable), is)
		}
		all[name] = text
	}
	return all
}

func gitlabJob(t *testing.T, page string, given map[string]string) signingJob {
	predefined := map[string]string{
		"CI_REGISTRY_IMAGE": given["registry"] + "/app", "CI_COMMIT_TAG": given["tag"], "CI_COMMIT_SHA": given["commit"],
		"CI_REGISTRY_USER": given["user"], "CI_REGISTRY_PASSWORD": given["password"], "NOTATION_PKCS11_PIN": given["pin"],
	}
	job := at(t, pipelineYAML(t, page), 0, "sign")
	variables := expand(t, at(t, job, "variables"), "$%s", predefined)
	for name, value := range predefined {
		variables[name] = value
	}
	return signingJob{strings.Join(scriptsIn(job), "\n"), variables}
}

func azureJob(t *testing.T, page string, given map[string]string) signingJob {
	steps := at(t, pipelineYAML(t, page), 0, "stages", 1, "jobs", 0, "strategy", "runOnce", "deploy", "steps")
	step := at(t, steps, 1)
	variables := expand(t, at(t, step, "env"), "$(%s)", map[string]string{
		"SigningPin": given["pin"], "RegistryUsername": given["user"], "RegistryPassword": given["password"],
	})
	variables["PIPELINE_WORKSPACE"] = given["workspace"]
	variables["BUILD_SOURCEBRANCHNAME"] = given["tag"]
	variables["BUILD_SOURCEVERSION"] = given["commit"]
	return signingJob{fmt.Sprint(at(t, step, "bash")), variables}
}

func jenkinsJob(t *testing.T, page string, given map[string]string) signingJob {
	scripts := jenkinsScripts(page)
	if len(scripts) != 2 {
		t.Fatalf("%d scripts", len(scripts))
	}
	return signingJob{scripts[1], map[string]string{
		"TAG_NAME": given["tag"], "BUILD_TAG": "jenkins-release-1",
		"NOTATION_PKCS11_PIN": given["pin"], "INPUT_REGISTRY_USERNAME": given["user"], "INPUT_REGISTRY_PASSWORD": given["password"],
	}}
}

// tektonJob quotes the arguments: Tekton starts the command without a shell.
func tektonJob(t *testing.T, page string, given map[string]string) signingJob {
	var task any
	for _, document := range pipelineYAML(t, page) {
		if at(t, document, "kind") == "Task" && at(t, document, "metadata", "name") == "sign" {
			task = document
		}
	}
	step := at(t, task, "spec", "steps", 0)
	places := strings.NewReplacer("$(workspaces.image.path)", given["workspace"],
		"$(params.reference)", given["registry"]+"/app:"+given["tag"], "$(params.commit)", given["commit"])
	words := []string{strings.TrimPrefix(fmt.Sprint(at(t, step, "command", 0)), "/usr/bin/")} // here it is elsewhere
	args, _ := at(t, step, "args").([]any)
	for _, arg := range args {
		words = append(words, "'"+places.Replace(fmt.Sprint(arg))+"'")
	}
	secret := map[string]string{"pin": given["pin"], "registry-username": given["user"], "registry-password": given["password"]}
	variables := map[string]string{}
	list, _ := at(t, step, "env").([]any)
	for _, variable := range list {
		key := fmt.Sprint(at(t, variable, "valueFrom", "secretKeyRef", "key"))
		variables[fmt.Sprint(at(t, variable, "name"))] = secret[key]
	}
	return signingJob{strings.Join(words, " "), variables}
}
