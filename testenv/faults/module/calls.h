// SPDX-License-Identifier: Apache-2.0

// What happens at each call, whatever the function: the journal, the rules on
// calls, and the rules on the order of calls.

#ifndef FAULTS_CALLS_H
#define FAULTS_CALLS_H

#include <stdbool.h>

#include "cryptoki.h"
#include "journal.h"

// struct call is one call, on the stack of the function called.
struct call {
	enum function function;
	unsigned long nth; // the first since the library was loaded is 1
	char detail[480];
	bool answered; // by the function; not by a rule in its place
	CK_RV rv;
};

// struct output is where a function puts what it gives back.
struct output {
	enum { NO_OUTPUT, OUTPUT_BYTES, OUTPUT_LIST, OUTPUT_VALUES, OUTPUT_HANDLE, OUTPUT_STRUCT } kind;
	void *data;      // bytes, items, attributes, a handle, or a structure
	CK_ULONG *count; // of bytes or items
	CK_ULONG size;   // of an item or structure; of OUTPUT_VALUES the number of attributes
};

#define NOTHING ((struct output){NO_OUTPUT, NULL, NULL, 0})
#define BYTES(data, length) ((struct output){OUTPUT_BYTES, data, length, 1})
#define LIST(items, count) ((struct output){OUTPUT_LIST, items, count, sizeof(*(items))})
#define VALUES(template, count) ((struct output){OUTPUT_VALUES, template, NULL, count})
#define HANDLE(handle) ((struct output){OUTPUT_HANDLE, handle, NULL, sizeof(*(handle))})
#define STRUCT(data) ((struct output){OUTPUT_STRUCT, data, NULL, sizeof(*(data))})

// call_enter begins a call and reports whether the function shall answer it:
// otherwise call->rv is its answer already. The format is that of the detail.
bool call_enter(struct call *call, enum function function, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// call_leave ends a call and returns what the function shall return.
CK_RV call_leave(struct call *call, struct output output);

#endif
