// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// The numbers are those of the headers, which are of version 2.40 and lack what
// came after it.
func TestReturnValuesAreThoseOfTheHeaders(t *testing.T) {
	t.Parallel()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "pkcs11t.h"))
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]uint{}
	for _, match := range regexp.MustCompile(`#define (CKR_\w+)\s+0x([0-9A-Fa-f]+)UL`).FindAllStringSubmatch(string(header), -1) {
		value, err := strconv.ParseUint(match[2], 16, 0)
		if err != nil {
			t.Fatal(err)
		}
		defined[match[1]] = uint(value)
	}
	var newer []string
	for _, f := range faults.Functions {
		for _, name := range f.Returns {
			value, known := defined[name]
			if !known {
				newer = append(newer, name)
			} else if got := faults.ReturnValue(name); got != value {
				t.Errorf("%s is 0x%x, in the header 0x%x", name, got, value)
			}
		}
		if !slices.IsSorted(f.Returns) || len(slices.Compact(slices.Clone(f.Returns))) != len(f.Returns) {
			t.Errorf("the return values of %s are out of order, or stand there twice", f.Name)
		}
		if !slices.Contains(f.Returns, "CKR_GENERAL_ERROR") || slices.Contains(f.Returns, "CKR_OK") {
			t.Errorf("%s has not the return values of the specification: %v", f.Name, f.Returns)
		}
		if !slices.Contains(f.Returns, "CKR_CRYPTOKI_NOT_INITIALIZED") && f.Name != "C_Initialize" && f.Name != "C_GetFunctionList" {
			t.Errorf("%s lacks CKR_CRYPTOKI_NOT_INITIALIZED", f.Name)
		}
	}
	slices.Sort(newer)
	want := []string{"CKR_OPERATION_CANCEL_FAILED", "CKR_PARAMETER_SET_NOT_SUPPORTED", "CKR_PENDING", "CKR_SESSION_ASYNC_NOT_SUPPORTED", "CKR_TOKEN_RESOURCE_EXCEEDED"}
	if newer = slices.Compact(newer); !slices.Equal(newer, want) {
		t.Errorf("the header lacks %v, want %v", newer, want)
	}
}
