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
)

const troubleshooting = "../docs/troubleshooting.md"

var update = flag.Bool("update", false, "write the tables of "+troubleshooting)

// The page's tables are those that errors are translated by. After a change:
//
//	go test ./plugin -run TestTroubleshooting -update
func TestTroubleshootingHasEveryError(t *testing.T) {
	kinds := []string{"| error | code | what to do |", "|---|---|---|"}
	for _, kind := range slices.Sorted(maps.Keys(ofKind)) {
		kinds = append(kinds, row(string(kind), ofKind[kind]))
	}
	values := []string{"| PKCS#11 says | code | what to do |", "|---|---|---|"}
	for _, name := range slices.Sorted(maps.Keys(ofReturnValue)) {
		values = append(values, row(name, ofReturnValue[name]))
	}
	values = append(values, row("any other", ofOtherValue), row("nothing", ofNoValue))

	content, err := os.ReadFile(troubleshooting)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, string(content), "kinds", kinds)
	want = between(t, want, "return values", values)
	if *update {
		if err := os.WriteFile(troubleshooting, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(content) {
		t.Errorf("%s has other tables than the code; write them with: go test ./plugin -run TestTroubleshooting -update", troubleshooting)
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
	return fmt.Sprintf("| `%s` | `%s` | %s. |", name, a.code, strings.ReplaceAll(a.todo, "{pin}", "the PIN"))
}

// between replaces what stands between the marks of a generated part.
func between(t *testing.T, page, name string, lines []string) string {
	t.Helper()
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->\n"
	before, rest, ok := strings.Cut(page, begin)
	_, after, okay := strings.Cut(rest, end)
	if !ok || !okay {
		t.Fatalf("%s has no marks for %s", troubleshooting, name)
	}
	return before + begin + strings.Join(lines, "\n") + "\n" + end + after
}
