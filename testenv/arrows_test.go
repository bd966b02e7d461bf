// SPDX-License-Identifier: Apache-2.0

package testenv_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/notation-pkcs11/notation-pkcs11/"

// arrows says which packages of this module each one may import. The data goes
// one way: from the commands down to the token, and from the work to its
// rendering.
var arrows = map[string][]string{
	"internal/auditlog":          {"internal/trustedfile"},
	"internal/lazyregexp":        {},
	"internal/program":           {},
	"internal/sandbox":           {"internal/lazyregexp"},
	"internal/trustedfile":       {},
	"pkcs11":                     {"internal/trustedfile"},
	"pkcs11/host":                {"internal/lazyregexp", "internal/sandbox", "pkcs11"},
	"plugin":                     {"internal/auditlog", "internal/lazyregexp", "internal/sandbox", "internal/trustedfile", "pkcs11", "plugin/payload"},
	"plugin/payload":             {},
	"plugin/agent":               {"internal/auditlog", "pkcs11", "plugin", "plugin/payload"},
	"action":                     {"action/envelope", "action/layout", "action/pluginprogram", "action/publish", "action/registry", "action/report", "action/revocation", "action/sign", "action/verify"},
	"action/registry":            {"internal/program"},
	"action/layout":              {"action/registry"},
	"action/pluginprogram":       {"internal/program"},
	"action/publish":             {"action/registry"},
	"action/sign":                {"action/envelope", "action/pluginprogram", "action/registry", "action/report", "action/revocation", "internal/trustedfile"},
	"action/verify":              {"action/envelope", "action/registry", "action/report", "action/revocation", "internal/trustedfile"},
	"action/envelope":            {"action/report"},
	"action/revocation":          {},
	"action/report":              {},
	"cmd/internal/companion":     {},
	"cmd/internal/hosted":        {"internal/trustedfile", "pkcs11", "pkcs11/host", "plugin", "plugin/agent"},
	"cmd/internal/streams":       {},
	"cmd/notation-pkcs11":        {"cmd/internal/companion", "cmd/internal/hosted", "cmd/internal/streams", "internal/auditlog", "internal/sandbox", "pkcs11", "pkcs11/host", "plugin", "plugin/agent"},
	"cmd/notation-pkcs11-action": {"action", "cmd/internal/hosted", "pkcs11", "pkcs11/host", "plugin", "plugin/agent"},
	"testenv":                    {},
	"testenv/faults":             {},
	"testenv/registryfaults":     {},
	"testenv/download":           {},
	"testenv/leak":               {},
	"testenv/pki":                {"testenv"},
	"testenv/signed":             {"testenv", "testenv/pki"},
	"testenv/softplugin":         {"testenv", "testenv/pki"},
	"testenv/runner":             {},
	"testenv/figures":            {"testenv", "testenv/generated"},
	"testenv/generated":          {},
	"testenv/wording":            {},
	"testenv/lab":                {"testenv"},
	"testenv/secretwatch":        {"testenv", "testenv/leak"},
	"docs":                       {},
	"packaging":                  {},
	"packaging/image":            {},
}

// bindings may be imported by one package alone.
var bindings = map[string]string{
	"github.com/miekg/pkcs11": "pkcs11",
}

func TestArrowsBetweenPackages(t *testing.T) {
	output, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	packages := 0
	for line := range strings.Lines(string(output)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(fields[0], module)
		allowed, known := arrows[name]
		if !known {
			t.Errorf("package %s has no place in the house: add it to the arrows", name)
			continue
		}
		packages++
		for _, path := range fields[1:] {
			if own, ok := strings.CutPrefix(path, module); ok && !slices.Contains(allowed, own) {
				t.Errorf("package %s imports %s", name, own)
			}
			if only, bound := bindings[path]; bound && only != name {
				t.Errorf("package %s imports %s, which is for %s alone", name, path, only)
			}
		}
	}
	if packages < 6 {
		t.Errorf("only %d packages were looked at:\n%s", packages, output)
	}
}

// A contributor finds every package in the table of CONTRIBUTING.md.
func TestContributingNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Packages\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for name := range arrows {
		if !strings.Contains(table, "`"+name+"`") {
			t.Errorf("its table lacks %s", name)
		}
	}
}

// The plugin starts three times for each signature, so it must not carry what
// it doesn't use.
func TestPluginStaysLight(t *testing.T) {
	output, err := exec.Command("go", "list", "-deps", module+"cmd/notation-pkcs11").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, heavy := range []string{"net/http", "html/template", "github.com/notaryproject/notation-go", "oras.land/oras-go/v2", "testing"} {
		if slices.Contains(strings.Fields(string(output)), heavy) {
			t.Errorf("the plugin imports %s", heavy)
		}
	}
}
