// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
)

// component is an entry of a CycloneDX bill of materials.
type component struct {
	Type       string `json:"type"`
	BOMRef     string `json:"bom-ref"`
	Name       string `json:"name"`
	Version    string `json:"version"`
	PackageURL string `json:"purl"`
}

// unneeded are trees of packages that no program reads here.
var unneeded = []string{"usr/share/man/", "usr/share/locale/", "usr/share/lintian/", "usr/share/bug/", "usr/sbin/", "usr/share/base-files/", "usr/share/gcc/", "usr/share/gdb/"}

// addPackage unpacks a Debian package. No script of it runs. Its control data go
// to where scanners of images look for them.
func (r *rootfs) addPackage(deb string) (component, error) {
	control, err := exec.Command("dpkg-deb", "--field", deb).Output()
	if err != nil {
		return component{}, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(control)) {
		if name, value, found := strings.Cut(line, ": "); found && !strings.HasPrefix(line, " ") {
			fields[name] = strings.TrimSpace(value)
		}
	}
	content, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
	if err != nil {
		return component{}, err
	}
	for files := tar.NewReader(bytes.NewReader(content)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return component{}, err
		}
		name := strings.TrimPrefix(header.Name, "./")
		if name == "" || slices.ContainsFunc(unneeded, func(tree string) bool { return strings.HasPrefix(name, tree) }) ||
			strings.HasPrefix(name, "usr/share/doc/") && header.Typeflag != tar.TypeDir && path.Base(name) != "copyright" {
			continue
		}
		if header.Uid != 0 || header.Typeflag == tar.TypeLink {
			return component{}, fmt.Errorf("%s belongs to user %d, or is a hard link", name, header.Uid)
		}
		content, err := io.ReadAll(files)
		if err != nil {
			return component{}, err
		}
		const setID = 0o6000
		r.put(&tar.Header{Typeflag: header.Typeflag, Name: name, Linkname: header.Linkname, Mode: header.Mode &^ setID, Size: header.Size}, content)
	}
	r.addFile("var/lib/dpkg/status.d/"+fields["Package"], 0o644, control)
	identity := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=debian-12", url.PathEscape(fields["Package"]), url.PathEscape(fields["Version"]), fields["Architecture"])
	return component{Type: "library", BOMRef: identity, Name: fields["Package"], Version: fields["Version"], PackageURL: identity}, nil
}

// addSystem adds what the packages' scripts would have made: users, and the list
// of authorities that TLS trusts.
func (r *rootfs) addSystem() {
	r.addFile("etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:%d:%[1]d:nonroot:/home/nonroot:/sbin/nologin\n", user))
	r.addFile("etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", user))
	r.addFile("etc/nsswitch.conf", 0o644, []byte("hosts: files dns\n"))
	r.addDirectory("home/nonroot", 0o700, user)
	var authorities []byte
	for _, name := range slices.Sorted(maps.Keys(r.contents)) {
		if strings.HasPrefix(name, "usr/share/ca-certificates/") && strings.HasSuffix(name, ".crt") {
			authorities = append(authorities, r.contents[name]...)
		}
	}
	r.addFile("etc/ssl/certs/ca-certificates.crt", 0o644, authorities)
}

// extendBill returns the bill of materials in a file with more components.
func extendBill(path string, components []component) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var bill map[string]any
	if err := json.Unmarshal(content, &bill); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	listed, ok := bill["components"].([]any)
	if !ok {
		return nil, fmt.Errorf("%s has no components", path)
	}
	for _, c := range components {
		listed = append(listed, c)
	}
	bill["components"] = listed
	return json.Marshal(bill)
}
