// SPDX-License-Identifier: Apache-2.0

// Cryptoki 2.40 for Unix: the specification's own headers, and its functions as
// numbers and names.

#ifndef FAULTS_CRYPTOKI_H
#define FAULTS_CRYPTOKI_H

#include <stddef.h>

#define CK_PTR *
#define CK_DECLARE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type(*name)
#define CK_CALLBACK_FUNCTION(type, name) type(*name)
#define NULL_PTR NULL

#include <pkcs11.h>

// enum function has the 68 functions in the order of CK_FUNCTION_LIST, then the
// library's constructor and destructor, which rules can name too.
enum function {
#define CK_PKCS11_FUNCTION_INFO(name) FUNCTION_##name,
#include <pkcs11f.h>
#undef CK_PKCS11_FUNCTION_INFO
	FUNCTION_load,
	FUNCTION_unload,
	FUNCTION_COUNT
};

// function_names are the names by enum function, such as "C_Initialize".
extern const char *const function_names[FUNCTION_COUNT];

#endif
