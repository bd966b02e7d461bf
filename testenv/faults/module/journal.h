// SPDX-License-Identifier: Apache-2.0

// The journal: one line a call when it comes in, and one when it goes out.
//
//	PID TID C_Name [DETAIL]
//	PID TID C_Name [DETAIL] -> 0xRV
//
// A call that has no second line has not come back: it hangs, or its process is
// dead. Besides there are lines with OVERLAP or BAD-RULES for a name, and with HANG
// where a rule lets the call before it hang.

#ifndef FAULTS_JOURNAL_H
#define FAULTS_JOURNAL_H

#include <stddef.h>

#include "cryptoki.h"

// journal_open says where the journal is; NULL is for none.
void journal_open(const char *path);

// journal_write appends a line, all of it in one write.
void journal_write(const char *format, ...) __attribute__((format(printf, 1, 2)));

// struct text is a piece of a line, cut off when it is too long.
struct text {
	char text[400];
};

// The arguments of calls as text. No PIN and no value of an attribute but
// CKA_CLASS is ever in it.
struct text text_of_init_args(const CK_C_INITIALIZE_ARGS *args);
struct text text_of_pin(const CK_UTF8CHAR *pin, CK_ULONG length);
struct text text_of_mechanism(const CK_MECHANISM *mechanism);
struct text text_of_template(const CK_ATTRIBUTE *template, CK_ULONG count);
struct text text_of_types(const CK_ATTRIBUTE *template, CK_ULONG count);

#endif
