// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// newCheckedContext puts the function list into the binding, where it is private: a
// version of the binding that has it elsewhere must not get as far as a release.
func TestBindingHasItsFunctionListWhereItIsPut(t *testing.T) {
	ctx := reflect.TypeFor[pkcs11.Ctx]()
	if ctx.Kind() != reflect.Struct || ctx.NumField() != 1 || ctx.Field(0).Type.Kind() != reflect.Pointer {
		t.Fatalf("pkcs11.Ctx is %v", ctx)
	}
	held := ctx.Field(0).Type.Elem()
	if held.Kind() != reflect.Struct || held.NumField() != 2 {
		t.Fatalf("what it points to is %v", held)
	}
	library, functions := held.Field(0), held.Field(1)
	if library.Name != "handle" || library.Type.Size() != unsafe.Sizeof(uintptr(0)) {
		t.Errorf("the library is in %v", library)
	}
	if functions.Name != "sym" || functions.Type.Kind() != reflect.Pointer || functions.Offset != unsafe.Sizeof(uintptr(0)) {
		t.Errorf("the function list is in %v", functions)
	}
}
