// SPDX-License-Identifier: Apache-2.0

// A PKCS#11 module for Windows, for tests alone: one token with one RSA key, which it
// keeps in files. It signs with CKM_RSA_X_509 and has no other mechanism.
//
// The directory in the variable TOKEN_DIR has the key's modulus and private exponent,
// 256 bytes each, and a certificate chain: modulus.bin, exponent.bin, leaf.der,
// issuer.der, root.der. TOKEN_PIN is the PIN. The module adds the name of each function
// that is called to the file calls.txt in there. TOKEN_FAULT says what goes wrong where:
// "hang C_Sign", "crash C_Sign", or "noise C_Sign", which prints on both streams.

#include <windows.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma pack(push, 1) // Cryptoki 2.40, section 2.1
#define CK_PTR *
#define CK_DECLARE_FUNCTION(type, name) __declspec(dllexport) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type(*name)
#define CK_CALLBACK_FUNCTION(type, name) type(*name)
#define NULL_PTR NULL
#include <pkcs11.h>
#pragma pack(pop)

enum { SLOT = 7, SESSION = 1, KEY_BYTES = 256, LIMBS = KEY_BYTES / 4, LARGEST = 8192, MOST_ATTRIBUTES = 16 };

static char directory[MAX_PATH], pin[64], fault[64];
static BOOL initialized, logged_in;

// enter notes a call, and does what goes wrong there.
static void enter(const char *function)
{
	char path[MAX_PATH + 16], action[16] = "", where[48] = "";
	FILE *calls;

	snprintf(path, sizeof(path), "%s\\calls.txt", directory);
	calls = fopen(path, "a");
	if (calls != NULL) {
		fprintf(calls, "%s\n", function);
		fclose(calls);
	}
	if (sscanf(fault, "%15s %47s", action, where) != 2 || strcmp(where, function) != 0)
		return;
	if (strcmp(action, "hang") == 0)
		Sleep(INFINITE);
	if (strcmp(action, "crash") == 0)
		*(volatile int *volatile)NULL = 1;
	if (strcmp(action, "noise") == 0) {
		DWORD written;
		static const char text[] = "{\"errorCode\":\"ERROR\",\"errorMessage\":\"printed by the module\"}\r\n";

		WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), text, sizeof(text) - 1, &written, NULL);
		WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, sizeof(text) - 1, &written, NULL);
	}
}

// RSA: s = m^d mod n, by Montgomery's multiplication. Numbers are arrays of limbs, the
// lowest first.
static uint32_t modulus[LIMBS], inverse; // -1/modulus mod 2^32

static BOOL below(const uint32_t *a, const uint32_t *b)
{
	for (int i = LIMBS - 1; i >= 0; i--)
		if (a[i] != b[i])
			return a[i] < b[i];
	return FALSE;
}

static void subtract_modulus(uint32_t *a)
{
	int64_t borrow = 0;

	for (int i = 0; i < LIMBS; i++) {
		borrow += (int64_t)a[i] - modulus[i];
		a[i] = (uint32_t)borrow;
		borrow >>= 32;
	}
}

// multiply sets out to a*b/2^2048 mod n.
static void multiply(uint32_t *out, const uint32_t *a, const uint32_t *b)
{
	uint32_t t[LIMBS + 2] = {0};

	for (int i = 0; i < LIMBS; i++) {
		uint64_t carry = 0;
		uint32_t factor;

		for (int j = 0; j < LIMBS; j++) {
			carry += t[j] + (uint64_t)a[i] * b[j];
			t[j] = (uint32_t)carry;
			carry >>= 32;
		}
		carry += t[LIMBS];
		t[LIMBS] = (uint32_t)carry;
		t[LIMBS + 1] = (uint32_t)(carry >> 32);
		factor = t[0] * inverse;
		carry = (t[0] + (uint64_t)factor * modulus[0]) >> 32;
		for (int j = 1; j < LIMBS; j++) {
			carry += t[j] + (uint64_t)factor * modulus[j];
			t[j - 1] = (uint32_t)carry;
			carry >>= 32;
		}
		carry += t[LIMBS];
		t[LIMBS - 1] = (uint32_t)carry;
		t[LIMBS] = t[LIMBS + 1] + (uint32_t)(carry >> 32);
	}
	memcpy(out, t, LIMBS * sizeof(*t));
	if (t[LIMBS] != 0 || !below(out, modulus))
		subtract_modulus(out);
}

static void from_bytes(uint32_t *number, const CK_BYTE *bytes)
{
	for (int i = 0; i < LIMBS; i++) {
		const CK_BYTE *limb = bytes + KEY_BYTES - 4 * (i + 1);

		number[i] = (uint32_t)limb[0] << 24 | (uint32_t)limb[1] << 16 | (uint32_t)limb[2] << 8 | limb[3];
	}
}

static void private_operation(const CK_BYTE *n, const CK_BYTE *d, const CK_BYTE *message, CK_BYTE *out)
{
	uint32_t power[LIMBS] = {1}, base[LIMBS], one[LIMBS] = {1}, square[LIMBS] = {1};

	from_bytes(modulus, n);
	inverse = 1;
	for (int i = 0; i < 5; i++)
		inverse *= 2 - modulus[0] * inverse;
	inverse = -inverse;
	for (int i = 0; i < 2 * 32 * LIMBS; i++) { // square = 2^4096 mod n
		uint32_t carry = square[LIMBS - 1] >> 31;

		for (int j = LIMBS - 1; j > 0; j--)
			square[j] = square[j] << 1 | square[j - 1] >> 31;
		square[0] <<= 1;
		if (carry != 0 || !below(square, modulus))
			subtract_modulus(square);
	}
	from_bytes(base, message);
	multiply(base, base, square);
	multiply(power, one, square);
	for (int i = 0; i < 8 * KEY_BYTES; i++) {
		multiply(power, power, power);
		if (d[i / 8] >> (7 - i % 8) & 1)
			multiply(power, power, base);
	}
	multiply(power, power, one);
	for (int i = 0; i < KEY_BYTES; i++)
		out[i] = (CK_BYTE)(power[LIMBS - 1 - i / 4] >> (24 - 8 * (i % 4)));
}

// Objects.
struct object {
	CK_ATTRIBUTE attributes[MOST_ATTRIBUTES];
	CK_ULONG count;
};

enum { PRIVATE_KEY, PUBLIC_KEY, LEAF, ISSUER, ROOT, OBJECTS };

static struct object objects[OBJECTS];
static struct { CK_BYTE bytes[LARGEST]; CK_ULONG length; } modulus_file, exponent_file, certificate_files[OBJECTS];

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_BYTE label[] = "signing", id[] = {1}, public_exponent[] = {1, 0, 1};
static CK_ULONG class_private = CKO_PRIVATE_KEY, class_public = CKO_PUBLIC_KEY, class_certificate = CKO_CERTIFICATE;
static CK_ULONG rsa = CKK_RSA, x509 = CKC_X_509;

static void add(int object, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG length)
{
	CK_ATTRIBUTE attribute = {type, value, length};

	objects[object].attributes[objects[object].count++] = attribute;
}

static BOOL read_file(const char *name, void *content, CK_ULONG *length)
{
	char path[MAX_PATH + 16];
	FILE *file;

	snprintf(path, sizeof(path), "%s\\%s", directory, name);
	file = fopen(path, "rb");
	if (file == NULL)
		return FALSE;
	*length = (CK_ULONG)fread(content, 1, LARGEST, file);
	fclose(file);
	return TRUE;
}

static BOOL read_objects(void)
{
	memset(objects, 0, sizeof(objects));
	if (!read_file("modulus.bin", modulus_file.bytes, &modulus_file.length) ||
	    !read_file("exponent.bin", exponent_file.bytes, &exponent_file.length) ||
	    modulus_file.length != KEY_BYTES || exponent_file.length != KEY_BYTES)
		return FALSE;
	for (int key = PRIVATE_KEY; key <= PUBLIC_KEY; key++) {
		add(key, CKA_CLASS, key == PRIVATE_KEY ? &class_private : &class_public, sizeof(CK_ULONG));
		add(key, CKA_TOKEN, &yes, 1);
		add(key, CKA_PRIVATE, key == PRIVATE_KEY ? &yes : &no, 1);
		add(key, CKA_LABEL, label, sizeof(label) - 1);
		add(key, CKA_ID, id, sizeof(id));
		add(key, CKA_KEY_TYPE, &rsa, sizeof(rsa));
		add(key, key == PRIVATE_KEY ? CKA_SIGN : CKA_VERIFY, &yes, 1);
		add(key, CKA_MODULUS, modulus_file.bytes, KEY_BYTES);
		add(key, CKA_PUBLIC_EXPONENT, public_exponent, sizeof(public_exponent));
	}
	for (int certificate = LEAF; certificate <= ROOT; certificate++) {
		static const char *const names[OBJECTS] = {[LEAF] = "leaf.der", [ISSUER] = "issuer.der", [ROOT] = "root.der"};

		if (!read_file(names[certificate], certificate_files[certificate].bytes, &certificate_files[certificate].length))
			return FALSE;
		add(certificate, CKA_CLASS, &class_certificate, sizeof(CK_ULONG));
		add(certificate, CKA_TOKEN, &yes, 1);
		add(certificate, CKA_PRIVATE, &no, 1);
		add(certificate, CKA_CERTIFICATE_TYPE, &x509, sizeof(x509));
		add(certificate, CKA_VALUE, certificate_files[certificate].bytes, certificate_files[certificate].length);
	}
	add(LEAF, CKA_ID, id, sizeof(id));
	return TRUE;
}

static const CK_ATTRIBUTE *attribute_of(const struct object *object, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; i < object->count; i++)
		if (object->attributes[i].type == type)
			return &object->attributes[i];
	return NULL;
}

static BOOL matches(const struct object *object, const CK_ATTRIBUTE *template, CK_ULONG count)
{
	for (CK_ULONG i = 0; i < count; i++) {
		const CK_ATTRIBUTE *has = attribute_of(object, template[i].type);

		if (has == NULL || has->ulValueLen != template[i].ulValueLen || memcmp(has->pValue, template[i].pValue, has->ulValueLen) != 0)
			return FALSE;
	}
	return TRUE;
}

static void pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
	memset(field, ' ', size);
	memcpy(field, text, strlen(text));
}

// The functions.
static CK_RV initialize(CK_VOID_PTR arguments)
{
	enter("C_Initialize");
	if (initialized)
		return CKR_CRYPTOKI_ALREADY_INITIALIZED;
	if (!read_objects())
		return CKR_GENERAL_ERROR;
	initialized = TRUE;
	return CKR_OK;
}

static CK_RV finalize(CK_VOID_PTR reserved)
{
	enter("C_Finalize");
	initialized = FALSE;
	return CKR_OK;
}

static CK_RV get_info(CK_INFO *info)
{
	memset(info, 0, sizeof(*info));
	info->cryptokiVersion.major = 2;
	info->cryptokiVersion.minor = 40;
	pad(info->manufacturerID, sizeof(info->manufacturerID), "notation-pkcs11");
	pad(info->libraryDescription, sizeof(info->libraryDescription), "token in files");
	return CKR_OK;
}

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
	if (slots != NULL && *count < 1)
		return CKR_BUFFER_TOO_SMALL;
	if (slots != NULL)
		slots[0] = SLOT;
	*count = 1;
	return CKR_OK;
}

static CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	memset(info, 0, sizeof(*info));
	pad(info->slotDescription, sizeof(info->slotDescription), "slot");
	pad(info->manufacturerID, sizeof(info->manufacturerID), "notation-pkcs11");
	info->flags = CKF_TOKEN_PRESENT;
	return CKR_OK;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	memset(info, 0, sizeof(*info));
	pad(info->label, sizeof(info->label), "Release");
	pad(info->manufacturerID, sizeof(info->manufacturerID), "notation-pkcs11");
	pad(info->model, sizeof(info->model), "files");
	pad(info->serialNumber, sizeof(info->serialNumber), "1");
	info->flags = CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_WRITE_PROTECTED;
	info->ulMaxPinLen = sizeof(pin) - 1;
	return CKR_OK;
}

static CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE *mechanisms, CK_ULONG *count)
{
	if (mechanisms != NULL && *count < 1)
		return CKR_BUFFER_TOO_SMALL;
	if (mechanisms != NULL)
		mechanisms[0] = CKM_RSA_X_509;
	*count = 1;
	return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	enter("C_OpenSession");
	*session = SESSION;
	return CKR_OK;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
	enter("C_CloseSession");
	return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *given, CK_ULONG length)
{
	enter("C_Login");
	if (length != strlen(pin) || memcmp(given, pin, length) != 0)
		return CKR_PIN_INCORRECT;
	logged_in = TRUE;
	return CKR_OK;
}

static CK_RV logout(CK_SESSION_HANDLE session)
{
	enter("C_Logout");
	logged_in = FALSE;
	return CKR_OK;
}

static int found[OBJECTS], found_count, found_next; // by one session at a time

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	found_count = found_next = 0;
	for (int i = 0; i < OBJECTS; i++)
		if (matches(&objects[i], template, count) && (logged_in || i != PRIVATE_KEY))
			found[found_count++] = i;
	return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *handles, CK_ULONG most, CK_ULONG *count)
{
	for (*count = 0; *count < most && found_next < found_count; ++*count)
		handles[*count] = (CK_OBJECT_HANDLE)found[found_next++] + 1;
	return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE session) { return CKR_OK; }

static CK_RV get_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv = CKR_OK;

	if (object < 1 || object > OBJECTS)
		return CKR_OBJECT_HANDLE_INVALID;
	for (CK_ULONG i = 0; i < count; i++) {
		const CK_ATTRIBUTE *has = attribute_of(&objects[object - 1], template[i].type);

		if (has == NULL) {
			template[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
			rv = CKR_ATTRIBUTE_TYPE_INVALID;
			continue;
		}
		if (template[i].pValue != NULL && template[i].ulValueLen < has->ulValueLen) {
			template[i].ulValueLen = CK_UNAVAILABLE_INFORMATION;
			rv = CKR_BUFFER_TOO_SMALL;
			continue;
		}
		if (template[i].pValue != NULL)
			memcpy(template[i].pValue, has->pValue, has->ulValueLen);
		template[i].ulValueLen = has->ulValueLen;
	}
	return rv;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	enter("C_SignInit");
	if (mechanism->mechanism != CKM_RSA_X_509)
		return CKR_MECHANISM_INVALID;
	return key == PRIVATE_KEY + 1 && logged_in ? CKR_OK : CKR_KEY_HANDLE_INVALID;
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature, CK_ULONG *signature_length)
{
	if (signature == NULL) {
		*signature_length = KEY_BYTES;
		return CKR_OK;
	}
	enter("C_Sign");
	if (length != KEY_BYTES)
		return CKR_DATA_LEN_RANGE;
	if (*signature_length < KEY_BYTES)
		return CKR_BUFFER_TOO_SMALL;
	private_operation(modulus_file.bytes, exponent_file.bytes, data, signature);
	*signature_length = KEY_BYTES;
	return CKR_OK;
}

static CK_RV unsupported(void) { return CKR_FUNCTION_NOT_SUPPORTED; }

__declspec(dllexport) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	static CK_FUNCTION_LIST functions = {
		.version = {2, 40},
#define CK_PKCS11_FUNCTION_INFO(name) .name = (void *)unsupported,
#include <pkcs11f.h>
#undef CK_PKCS11_FUNCTION_INFO
	};

	GetEnvironmentVariableA("TOKEN_DIR", directory, sizeof(directory));
	GetEnvironmentVariableA("TOKEN_PIN", pin, sizeof(pin));
	GetEnvironmentVariableA("TOKEN_FAULT", fault, sizeof(fault));
	functions.C_GetFunctionList = C_GetFunctionList;
	functions.C_Initialize = initialize;
	functions.C_Finalize = finalize;
	functions.C_GetInfo = get_info;
	functions.C_GetSlotList = get_slot_list;
	functions.C_GetSlotInfo = get_slot_info;
	functions.C_GetTokenInfo = get_token_info;
	functions.C_GetMechanismList = get_mechanism_list;
	functions.C_OpenSession = open_session;
	functions.C_CloseSession = close_session;
	functions.C_Login = login;
	functions.C_Logout = logout;
	functions.C_FindObjectsInit = find_init;
	functions.C_FindObjects = find;
	functions.C_FindObjectsFinal = find_final;
	functions.C_GetAttributeValue = get_attributes;
	functions.C_SignInit = sign_init;
	functions.C_Sign = sign;
	*list = &functions;
	return CKR_OK;
}
