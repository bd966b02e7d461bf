// SPDX-License-Identifier: Apache-2.0

package report

import "reflect"

// ownTexts are the members of a report that the user or this program wrote, by their
// types and names. All others may repeat what a registry or a certificate says.
var ownTexts = map[string]bool{
	"Report.FormatVersion": true, "Report.Mode": true,
	"Tool.Name": true, "Tool.Version": true,
	"Artifact.Reference": true, "Artifact.Resolved": true, "Artifact.Scope": true,
	"Statement.Name": true, "Statement.Scope": true, "Statement.Level": true, "Statement.Actions": true, "Statement.Stores": true, "Statement.Identities": true,
	"Unmatched.Statement": true, "Unmatched.Scope": true,
	"Verification.Verdict": true, "Anchor.Store": true,
	"Check.Name": true, "Check.Result": true, "Check.Action": true,
}

// ChangeForeign replaces each text of the report that somebody else may have written by
// what change makes of it.
func (r *Report) ChangeForeign(change func(string) string) {
	changeTexts(reflect.ValueOf(r).Elem(), change)
}

func changeTexts(v reflect.Value, change func(string) string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(change(v.String()))
	case reflect.Pointer:
		if !v.IsNil() {
			changeTexts(v.Elem(), change)
		}
	case reflect.Slice:
		for i := range v.Len() {
			changeTexts(v.Index(i), change)
		}
	case reflect.Map: // of texts
		changed := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			changed.SetMapIndex(reflect.ValueOf(change(key.String())), reflect.ValueOf(change(value.String())))
		}
		if !v.IsNil() {
			v.Set(changed)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && !ownTexts[v.Type().Name()+"."+field.Name] {
				changeTexts(v.Field(i), change)
			}
		}
	}
}
