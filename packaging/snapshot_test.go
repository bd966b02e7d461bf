// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// released is where build.sh has put the release; "make release-snapshot" runs
// it before these tests.
const released = "../dist/release"

// platforms are those that are built on Linux. On macOS the same configuration
// builds darwin's, and the release workflow joins the two.
var platforms = []struct{ name, archive, exe string }{
	{"linux_amd64", ".tar.gz", ""},
	{"linux_arm64", ".tar.gz", ""},
	{"windows_amd64", ".zip", ".exe"},
}

// version is that of the release.
func version(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(released, "../metadata.json"))
	if err != nil {
		t.Fatalf("no release is built; run make release-snapshot: %v", err)
	}
	var metadata struct{ Version string }
	if err := json.Unmarshal(content, &metadata); err != nil {
		t.Fatal(err)
	}
	return metadata.Version
}

// asset is the path of a file of the release, such as notation-pkcs11_1.2.3_
// followed by linux_amd64.tar.gz.
func asset(t *testing.T, name, suffix string) string {
	t.Helper()
	return filepath.Join(released, name+"_"+version(t)+"_"+suffix)
}

// output runs a command that must succeed and returns its standard output.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdin = strings.NewReader("{}") // the request of get-plugin-metadata
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, stdout, &stderr)
	}
	return string(stdout)
}

// All files of a release are there, and the checksums are those of the files.
func TestReleaseIsWhole(t *testing.T) {
	wants := []string{asset(t, "notation-pkcs11", "checksums.txt")}
	for _, p := range platforms {
		wants = append(wants,
			asset(t, "notation-pkcs11", p.name+p.archive),
			asset(t, "notation-pkcs11", p.name+".cdx.json"),
			asset(t, "notation-pkcs11-action", p.name+p.exe),
			asset(t, "notation-pkcs11-action", p.name+".cdx.json"))
		if strings.HasPrefix(p.name, "linux") {
			wants = append(wants,
				asset(t, "notation-pkcs11", p.name+".deb"), asset(t, "notation-pkcs11", p.name+".rpm"),
				asset(t, "notation-pkcs11-action", p.name+".deb"), asset(t, "notation-pkcs11-action", p.name+".rpm"),
				asset(t, "notation-pkcs11-fips140", p.name+p.archive), asset(t, "notation-pkcs11-fips140", p.name+".cdx.json"),
				asset(t, "notation-pkcs11-action-fips140", p.name), asset(t, "notation-pkcs11-action-fips140", p.name+".cdx.json"))
		}
	}
	wants = append(wants, imageFile(t))
	slices.Sort(wants)
	files, err := filepath.Glob(filepath.Join(released, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(files, wants) {
		t.Errorf("the release is\n%s\nwant\n%s", strings.Join(files, "\n"), strings.Join(wants, "\n"))
	}
	checksums, err := os.ReadFile(asset(t, "notation-pkcs11", "checksums.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if path == asset(t, "notation-pkcs11", "checksums.txt") {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprintf("%s  %s\n", sum(content), filepath.Base(path))
		if !strings.Contains(string(checksums), line) {
			t.Errorf("the checksums lack %s", line)
		}
	}
}

// Notation takes an archive with one executable that is called notation-…, and
// refuses one with two.
func TestArchiveHoldsOnePluginAndTheLicense(t *testing.T) {
	license, err := os.ReadFile("../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range platforms {
		t.Run(p.name, func(t *testing.T) {
			files := unpack(t, asset(t, "notation-pkcs11", p.name+p.archive))
			if len(files) != 2 {
				t.Errorf("the archive has %d files", len(files))
			}
			if !bytes.Equal(files["LICENSE"].content, license) {
				t.Error("no LICENSE, or another one")
			}
			plugin := files["notation-pkcs11"+p.exe]
			if len(plugin.content) == 0 || plugin.mode != 0o755 {
				t.Errorf("plugin of %d bytes with mode %o", len(plugin.content), plugin.mode)
			}
		})
	}
}

// The time of day is in no file: archives and bills of materials have the time of
// the commit.
func TestReleaseHasTheTimeOfItsCommit(t *testing.T) {
	want, err := time.Parse(time.RFC3339, strings.TrimSpace(output(t, "git", "log", "-1", "--format=%cI")))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range platforms {
		for name, file := range unpack(t, asset(t, "notation-pkcs11", p.name+p.archive)) {
			if !file.time.Equal(want) {
				t.Errorf("%s: %s has the time %v, the commit %v", p.name, name, file.time, want)
			}
		}
		for _, name := range []string{"notation-pkcs11", "notation-pkcs11-action"} {
			content, err := os.ReadFile(asset(t, name, p.name+".cdx.json"))
			if err != nil {
				t.Fatal(err)
			}
			var bill struct{ Metadata struct{ Timestamp time.Time } }
			if err := json.Unmarshal(content, &bill); err != nil || !bill.Metadata.Timestamp.Equal(want) {
				t.Errorf("%s: the bill of materials of %s has the time %v, the commit %v, %v", p.name, name, bill.Metadata.Timestamp, want, err)
			}
		}
	}
}

type packed struct {
	mode    fs.FileMode
	time    time.Time
	content []byte
}

// unpack returns the regular files of a .tar.gz or .zip by name.
func unpack(t *testing.T, path string) map[string]packed {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]packed{}
	add := func(name string, mode fs.FileMode, modified time.Time, r io.Reader) {
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = packed{mode, modified, content}
	}
	if strings.HasSuffix(path, ".zip") {
		archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range archive.File {
			r, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			add(file.Name, file.Mode(), file.Modified, r)
			r.Close()
		}
		return files
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Uname != "root" || header.Gname != "root" {
			t.Errorf("%s belongs to %s:%s", header.Name, header.Uname, header.Gname)
		}
		add(header.Name, header.FileInfo().Mode(), header.ModTime, archive)
	}
}

// pluginOf returns the path of a platform's plugin, unpacked.
func pluginOf(t *testing.T, platform string) string {
	t.Helper()
	files := unpack(t, asset(t, "notation-pkcs11", platform+".tar.gz"))
	return write(t, "notation-pkcs11", files["notation-pkcs11"].content)
}

func write(t *testing.T, name string, executable []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, executable, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// The bill of materials names every module that the executable says it has.
func TestBillOfMaterialsIsComplete(t *testing.T) {
	for name, executable := range map[string]string{
		"notation-pkcs11":        pluginOf(t, "linux_amd64"),
		"notation-pkcs11-action": asset(t, "notation-pkcs11-action", "linux_amd64"),
	} {
		content, err := os.ReadFile(asset(t, name, "linux_amd64.cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		var bill struct {
			BOMFormat  string
			Components []struct{ Name, Version string }
		}
		if err := json.Unmarshal(content, &bill); err != nil || bill.BOMFormat != "CycloneDX" {
			t.Fatalf("%s: format %q, %v", name, bill.BOMFormat, err)
		}
		var listed []string
		for _, c := range bill.Components {
			listed = append(listed, c.Name+" "+c.Version)
		}
		modules := 0
		for line := range strings.Lines(output(t, "go", "version", "-m", executable)) {
			fields := strings.Fields(line)
			if fields[0] != "dep" {
				continue
			}
			modules++
			if module := fields[1] + " " + fields[2]; !slices.Contains(listed, module) {
				t.Errorf("the bill of materials of %s lacks %s", name, module)
			}
		}
		if modules == 0 {
			t.Errorf("%s has no modules", executable)
		}
	}
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}
