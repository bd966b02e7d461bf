// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/generated"
)

const (
	troubleshooting = "../docs/troubleshooting.md"
	errorTables     = "../docs/errors.md"
)

var update = flag.Bool("update", false, "write the tables of "+errorTables)

// The page's tables are those that errors are translated by. After a change:
//
//	go test ./plugin -run TestTroubleshooting -update
func TestTroubleshootingTablesHaveEveryError(t *testing.T) {
	kinds := []string{"| error | code | what to do, if the error doesn't say it |", "|---|---|---|"}
	for _, kind := range slices.Sorted(maps.Keys(ofKind)) {
		kinds = append(kinds, strings.Replace(row(string(kind), ofKind[kind]), "|  |", "|", 1))
	}
	values := []string{"| return value | code | what it means | what to do |", "|---|---|---|---|"}
	for _, name := range slices.Sorted(maps.Keys(ofReturnValue)) {
		values = append(values, row(name, ofReturnValue[name]))
	}
	for _, function := range slices.Sorted(maps.Keys(ofFunction)) {
		for _, name := range slices.Sorted(maps.Keys(ofFunction[function])) {
			values = append(values, row(function+": "+name, ofFunction[function][name]))
		}
	}
	values = append(values, row("C_Login: any other", ofLogin), row("any other", ofOtherValue), row("nothing", ofNoValue))

	content, err := os.ReadFile(errorTables)
	if err != nil {
		t.Fatal(err)
	}
	want, err := generated.Replace(string(content), "kinds", kinds)
	if err == nil {
		want, err = generated.Replace(want, "return values", values)
	}
	if err != nil {
		t.Fatalf("%s: %v", errorTables, err)
	}
	if *update {
		if err := os.WriteFile(errorTables, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(content) {
		t.Errorf("%s has other tables than the code; write them with: go test ./plugin -run TestTroubleshooting -update", errorTables)
	}
}

func TestTroubleshootingHasEveryCode(t *testing.T) {
	content, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []contract.ErrorCode{validation, denied, timeout, throttled, general, contract.ErrorCodeUnsupportedContractVersion} {
		if !strings.Contains(string(content), fmt.Sprintf("\n### `%s`\n", code)) {
			t.Errorf("%s has no heading %s", troubleshooting, code)
		}
	}
}

func row(name string, a advice) string {
	todo := ""
	if a.todo != "" {
		todo = strings.ReplaceAll(a.todo, "{pin}", "the configured PIN") + "."
	}
	return fmt.Sprintf("| `%s` | `%s` | %s | %s |", name, a.code, a.cause, todo)
}
