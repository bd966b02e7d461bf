// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// A member that is added to the report is foreign unless ownTexts has it.
func TestAllForeignTextsAreChanged(t *testing.T) {
	var r Report
	fill(reflect.ValueOf(&r).Elem(), "foreign", func(n int) int { return n - 1 })
	r.ChangeForeign(func(string) string { return "changed" })
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "foreign") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	want := `["\"formatVersion\": \"foreign\"," "\"name\": \"foreign\"," "\"version\": \"foreign\"" "\"mode\": \"foreign\","`
	if got := fmt.Sprintf("%q", left); !strings.HasPrefix(got, want) || strings.Contains(got, "error") || strings.Contains(got, "mediaType") || strings.Contains(got, "subject") {
		t.Errorf("not changed: %s", got)
	}
	if n := strings.Count(string(text), "changed"); n < 60 {
		t.Errorf("changed: %d", n)
	}
}
