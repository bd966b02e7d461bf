// SPDX-License-Identifier: Apache-2.0

package pkcs11

/*
#include <stdlib.h>

// The C side of Cryptoki, as far as it is needed here (section 2.1: packed on
// Windows). Which function is where in the list is CK_FUNCTION_LIST's order.
#ifdef _WIN32
#pragma pack(push, 1)
#endif
struct functions {
	unsigned char version[2];
	void *list[68];
};
struct attribute {
	unsigned long type;
	void *value;
	unsigned long length;
};
struct mechanism {
	unsigned long type;
	void *parameters;
	unsigned long length;
};
#ifdef _WIN32
#pragma pack(pop)
#endif

// newBinding makes what the binding has behind its context. The binding's Destroy frees it.
static void *newBinding(void *library, void *functions)
{
	struct {
		void *library, *functions;
	} *binding = malloc(sizeof(*binding));

	if (binding == NULL)
		abort();
	binding->library = library;
	binding->functions = functions;
	return binding;
}

enum { GET_SLOT_LIST = 4, GET_MECHANISM_LIST = 7, LOGIN = 18, GET_ATTRIBUTE_VALUE = 24, FIND_OBJECTS = 27, SIGN_INIT = 42, SIGN = 43 };

static unsigned long getSlotList(void *module, unsigned char present, unsigned long *slots, unsigned long *count)
{
	unsigned long (*f)(unsigned char, unsigned long *, unsigned long *) = ((struct functions *)module)->list[GET_SLOT_LIST];

	return f(present, slots, count);
}

static unsigned long getMechanismList(void *module, unsigned long slot, unsigned long *mechanisms, unsigned long *count)
{
	unsigned long (*f)(unsigned long, unsigned long *, unsigned long *) = ((struct functions *)module)->list[GET_MECHANISM_LIST];

	return f(slot, mechanisms, count);
}

static unsigned long login(void *module, unsigned long session, unsigned long user, const unsigned char *pin, unsigned long length)
{
	unsigned long (*f)(unsigned long, unsigned long, const unsigned char *, unsigned long) = ((struct functions *)module)->list[LOGIN];

	return f(session, user, pin, length);
}

static unsigned long findObjects(void *module, unsigned long session, unsigned long *objects, unsigned long most, unsigned long *count)
{
	unsigned long (*f)(unsigned long, unsigned long *, unsigned long, unsigned long *) = ((struct functions *)module)->list[FIND_OBJECTS];

	return f(session, objects, most, count);
}

static unsigned long signInit(void *module, unsigned long session, unsigned long type, void *parameters, unsigned long length, unsigned long key)
{
	unsigned long (*f)(unsigned long, struct mechanism *, unsigned long) = ((struct functions *)module)->list[SIGN_INIT];
	struct mechanism mechanism = {type, parameters, length};

	return f(session, &mechanism, key);
}

static unsigned long sign(void *module, unsigned long session, const void *data, unsigned long length, unsigned char *signature, unsigned long *signatureLength)
{
	unsigned long (*f)(unsigned long, const void *, unsigned long, unsigned char *, unsigned long *) = ((struct functions *)module)->list[SIGN];

	return f(session, data, length, signature, signatureLength);
}

// getAttributeValue reads attributes into room, one after the other, each with as many
// bytes as lengths says, from a multiple of eight on, where modules may write a
// CK_ULONG; without room it asks for the lengths.
static unsigned long getAttributeValue(void *module, unsigned long session, unsigned long object, unsigned long count,
				       const unsigned long *types, unsigned char *room, unsigned long *lengths)
{
	unsigned long (*f)(unsigned long, unsigned long, struct attribute *, unsigned long) = ((struct functions *)module)->list[GET_ATTRIBUTE_VALUE];
	struct attribute *template = calloc(count, sizeof(*template));
	unsigned long rv;

	if (template == NULL)
		return 2; // CKR_HOST_MEMORY
	for (unsigned long i = 0; i < count; i++) {
		template[i].type = types[i];
		if (room == NULL)
			continue;
		template[i].value = room;
		template[i].length = lengths[i];
		room += (lengths[i] + 7) & ~7ul;
	}
	rv = f(session, object, template, count);
	for (unsigned long i = 0; i < count; i++)
		lengths[i] = template[i].length;
	free(template);
	return rv;
}
*/
import "C"

import (
	"bytes"
	"errors"
	"fmt"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// maxAnswer bounds one answer of a module in bytes: a list, a signature, the
// value of an attribute.
const maxAnswer = 1 << 20

// checkedContext is the binding, but for the login, of which it would leave a copy of the
// PIN in memory that it has freed, for the mechanism of a signature, which it frees too
// early, and for the calls whose answer has a length. The binding believes that length:
// where it is more than was asked for it reads, and hands on, memory that lies behind, and
// where it is very large or missing the process dies.
type checkedContext struct {
	*pkcs11.Ctx
	functions unsafe.Pointer // the module's CK_FUNCTION_LIST
}

// newCheckedContext makes a binding, as its New does: that doesn't look at what
// C_GetFunctionList says, and keeps the function list to itself. The list can't be asked
// for again: p11-kit's client gives another one each time, each with a C_Initialize of its
// own.
func newCheckedContext(library, functions unsafe.Pointer) *checkedContext {
	ctx := new(pkcs11.Ctx)
	*(*unsafe.Pointer)(unsafe.Pointer(ctx)) = C.newBinding(library, functions)
	return &checkedContext{ctx, functions}
}

// Why a library is no module.
var errNoPKCS11 = errors.New("is not a PKCS#11 module: it has no function C_GetFunctionList")

func noFunctions(rv uint) error {
	return fmt.Errorf("gives no function list (C_GetFunctionList: %s)", RVName(rv))
}

// LengthError says that an answer can't be as long as the module says. A Trace gets
// it.
type LengthError struct{ Says, Most uint }

// Error implements error.
func (e LengthError) Error() string {
	return fmt.Sprintf("the module says that its answer has a length of %d, which is more than the %d that are possible", e.Says, e.Most)
}

// checkLength checks a length that a module told.
func checkLength(length, most C.ulong) error {
	if length > most {
		return LengthError{uint(length), uint(most)}
	}
	return nil
}

// failure is the error of a return value, as the binding gives it.
func failure(rv C.ulong) error {
	if rv == pkcs11.CKR_OK {
		return nil
	}
	return pkcs11.Error(rv)
}

// tries bounds how often an answer is asked for that grew since its length was.
const tries = 3

// queryThenRead asks a function for the length of its answer, and then for the answer
// (section 5.2).
func queryThenRead[T any](f func(data *T, length *C.ulong) C.ulong) ([]T, error) {
	var item T
	const tooSmall = pkcs11.CKR_BUFFER_TOO_SMALL // Gemalto's says so to the question for the length, too
	for range tries {
		var length C.ulong
		if rv := f(nil, &length); rv != pkcs11.CKR_OK && rv != tooSmall {
			return nil, failure(rv)
		}
		if err := checkLength(length, maxAnswer/C.ulong(unsafe.Sizeof(item))); err != nil {
			return nil, err
		}
		room := length
		data := make([]T, room+1) // so that it has an address if it is empty
		switch rv := f(&data[0], &length); rv {
		case pkcs11.CKR_OK:
			if err := checkLength(length, room); err != nil {
				return nil, err
			}
			return data[:length], nil
		case tooSmall:
		default:
			return nil, failure(rv)
		}
	}
	return nil, failure(tooSmall)
}

// readInto asks a function for its answer at once, with room for what it mostly is. It
// is called again only where it says CKR_BUFFER_TOO_SMALL, with the room that it says:
// each call of a network HSM is a way there and back.
func readInto[T any](room uint, f func(data *T, length *C.ulong) C.ulong) ([]T, error) {
	var item T
	for range tries {
		length := C.ulong(room)
		data := make([]T, room+1) // so that it has an address if it is empty
		switch rv := f(&data[0], &length); rv {
		case pkcs11.CKR_OK:
			if err := checkLength(length, C.ulong(room)); err != nil {
				return nil, err
			}
			return data[:length], nil
		case pkcs11.CKR_BUFFER_TOO_SMALL:
			if err := checkLength(length, maxAnswer/C.ulong(unsafe.Sizeof(item))); err != nil {
				return nil, err
			}
			room = max(room, uint(length))
		default:
			return nil, failure(rv)
		}
	}
	return nil, failure(pkcs11.CKR_BUFFER_TOO_SMALL)
}

// GetSlotList is that of the binding. It asks for the length first, by which modules
// look for new slots (section 5.5).
func (c *checkedContext) GetSlotList(tokenPresent bool) ([]uint, error) {
	present := C.uchar(0)
	if tokenPresent {
		present = 1
	}
	slots, err := queryThenRead(func(data, length *C.ulong) C.ulong { return C.getSlotList(c.functions, present, data, length) })
	return convert[uint](slots), err
}

// GetMechanismList is that of the binding.
func (c *checkedContext) GetMechanismList(slot uint) ([]*pkcs11.Mechanism, error) {
	const usual = 512 // as many as modules have, and more
	types, err := readInto(usual, func(data, length *C.ulong) C.ulong {
		return C.getMechanismList(c.functions, C.ulong(slot), data, length)
	})
	mechanisms := make([]*pkcs11.Mechanism, len(types))
	for i, t := range types {
		mechanisms[i] = pkcs11.NewMechanism(uint(t), nil)
	}
	return mechanisms, err
}

// Login is that of the binding, with the PIN's own bytes. No PIN is NULL, which
// means the token's own keypad.
func (c *checkedContext) Login(s pkcs11.SessionHandle, user uint, pin []byte) error {
	var start *C.uchar
	if len(pin) > 0 {
		start = (*C.uchar)(unsafe.SliceData(pin))
	}
	return failure(C.login(c.functions, C.ulong(s), C.ulong(user), start, C.ulong(len(pin))))
}

// FindObjects is that of the binding. Its second result says nothing.
func (c *checkedContext) FindObjects(s pkcs11.SessionHandle, most int) ([]pkcs11.ObjectHandle, bool, error) {
	objects := make([]C.ulong, most)
	var count C.ulong
	err := failure(C.findObjects(c.functions, C.ulong(s), &objects[0], C.ulong(most), &count))
	if err == nil {
		err = checkLength(count, C.ulong(most))
	}
	if err != nil {
		return nil, false, err
	}
	return convert[pkcs11.ObjectHandle](objects[:count]), false, nil
}

// SignInit is that of the binding. The parameters of the mechanism must be pinned, and
// stay as they are until Sign returns: tpm2-pkcs11 keeps no copy of them.
func (c *checkedContext) SignInit(s pkcs11.SessionHandle, mechanism uint, parameters []byte, key pkcs11.ObjectHandle) error {
	return failure(C.signInit(c.functions, C.ulong(s), C.ulong(mechanism),
		unsafe.Pointer(unsafe.SliceData(parameters)), C.ulong(len(parameters)), C.ulong(key)))
}

// Sign is that of the binding, with room for a signature of so many bytes.
func (c *checkedContext) Sign(s pkcs11.SessionHandle, data []byte, room uint) ([]byte, error) {
	return readInto(room, func(signature *byte, length *C.ulong) C.ulong {
		return C.sign(c.functions, C.ulong(s), unsafe.Pointer(unsafe.SliceData(data)), C.ulong(len(data)), (*C.uchar)(signature), length)
	})
}

// GetAttributeValue is that of the binding, for one attribute; its value is nil where
// the module doesn't give one.
func (c *checkedContext) GetAttributeValue(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, attribute uint) ([]byte, error) {
	for range tries {
		most := []C.ulong{0}
		if err := failure(c.readAttributes(s, o, []uint{attribute}, nil, most)); err != nil {
			return nil, err
		}
		if isUnavailable(most[0]) {
			most[0] = 0
		}
		if err := checkLength(most[0], maxAnswer); err != nil {
			return nil, err
		}
		room, length := make([]byte, most[0]+1), []C.ulong{most[0]} // so that it has an address if it is empty
		switch rv := c.readAttributes(s, o, []uint{attribute}, room, length); {
		case rv == pkcs11.CKR_BUFFER_TOO_SMALL:
		case rv != pkcs11.CKR_OK:
			return nil, failure(rv)
		case isUnavailable(length[0]):
			return nil, nil
		default:
			if err := checkLength(length[0], most[0]); err != nil {
				return nil, err
			}
			return room[:length[0]:length[0]], nil
		}
	}
	return nil, failure(pkcs11.CKR_BUFFER_TOO_SMALL)
}

// GetAttributeValues reads attributes in one call, with the given room for each in bytes.
func (c *checkedContext) GetAttributeValues(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, attributes, rooms []uint) ([]answered, error) {
	total := uint(1) // so that it has an address if it is empty
	lengths := make([]C.ulong, len(rooms))
	for i, room := range rooms {
		lengths[i] = C.ulong(room)
		total += stride(room)
	}
	data := bytes.Repeat([]byte{filler}, int(total))
	rv := c.readAttributes(s, o, attributes, data, lengths)
	said := make([]uint, len(lengths))
	for i, length := range lengths {
		if said[i] = uint(length); isUnavailable(length) {
			said[i] = pkcs11.CK_UNAVAILABLE_INFORMATION
		}
	}
	return answers(uint(rv), data, rooms, said)
}

func (c *checkedContext) readAttributes(s pkcs11.SessionHandle, o pkcs11.ObjectHandle, attributes []uint, room []byte, lengths []C.ulong) C.ulong {
	types := make([]C.ulong, len(attributes))
	for i, t := range attributes {
		types[i] = C.ulong(t)
	}
	return C.getAttributeValue(c.functions, C.ulong(s), C.ulong(o), C.ulong(len(types)), &types[0], (*C.uchar)(unsafe.SliceData(room)), &lengths[0])
}

// isUnavailable recognizes CK_UNAVAILABLE_INFORMATION.
func isUnavailable(length C.ulong) bool { return length == ^C.ulong(0) }

func convert[T ~uint](numbers []C.ulong) []T {
	converted := make([]T, len(numbers))
	for i, n := range numbers {
		converted[i] = T(n)
	}
	return converted
}
