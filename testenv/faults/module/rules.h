// SPDX-License-Identifier: Apache-2.0

// The rules by which the module departs from the one behind it, as values.
// How they are written is documented at the table in rules.c.

#ifndef FAULTS_RULES_H
#define FAULTS_RULES_H

#include <stdbool.h>
#include <stddef.h>

#include "cryptoki.h"

enum {
	MAX_RULES = 64,      // of each kind
	MAX_MECHANISMS = 64, // in one list
	MAX_TEXT = 256,      // bytes of a PIN or a string, with its NUL
	MAX_VALUE = 512,     // bytes of an attribute's value
};

enum action {
	ACTION_RV,
	ACTION_HANG,
	ACTION_CRASH,
	ACTION_ABORT,
	ACTION_EXIT,
	ACTION_NOISE,
	ACTION_DELAY,
	ACTION_GARBLE,
	ACTION_SHORT,
	ACTION_EMPTY,
	ACTION_LONG,
	ACTION_UNAVAILABLE,
};

// struct call_rule is what happens at a call of a function.
struct call_rule {
	enum function function;
	unsigned long nth; // the first call is 1; 0 means every call
	bool after;        // once the call has been answered, not before
	enum action action;
	unsigned long argument; // of rv, exit, noise, delay, long
};

// struct attribute_rule is how an attribute of all objects of a class reads.
struct attribute_rule {
	CK_OBJECT_CLASS class;
	CK_ATTRIBUTE_TYPE type;
	bool hidden;
	CK_RV rv;     // of reading it; CKR_OK: it can be read
	bool at_birth; // in sessions that made a key alone
	CK_BYTE value[MAX_VALUE]; // when it is not hidden
	CK_ULONG length;
};

// struct denied_mechanism is a mechanism that fails.
struct denied_mechanism {
	CK_MECHANISM_TYPE type;
	CK_RV rv;
	bool at_sign; // in C_Sign, not already in C_SignInit
};

struct rules {
	struct call_rule calls[MAX_RULES];
	size_t call_count;

	struct attribute_rule attributes[MAX_RULES];
	size_t attribute_count;
	bool hidden_classes[CKO_PRIVATE_KEY + 1]; // by CK_OBJECT_CLASS
	bool hide_before_login;
	bool hide_id_search;
	bool ec_point_raw;

	CK_MECHANISM_TYPE mechanisms[MAX_MECHANISMS];
	CK_ULONG mechanism_count; // 0: as behind
	struct denied_mechanism denied[MAX_RULES];
	size_t denied_count;
	CK_MECHANISM_TYPE pss_hash; // 0: any
	bool message_pss;
	bool message_ecdsa;

	CK_FLAGS flags_set;
	CK_FLAGS flags_cleared;

	bool always_authenticate;
	char context_pin[MAX_TEXT];
	bool pin_pad;
	char pin_pad_pin[MAX_TEXT];
	bool no_login;
	char no_login_pin[MAX_TEXT];
	bool user_type_given;
	CK_USER_TYPE user_type;

	unsigned long delay_calls;   // 0: no delay
	unsigned long max_sessions;  // 0: no limit
	unsigned long states_sessions; // 0: as behind
	unsigned long sessions_die;  // 0: they live
	CK_RV read_write_only;       // 0: read-only sessions are fine
	bool read_only;
	bool slot_list_first;

	bool cant_lock;
	bool need_init_args;
	char init_args[MAX_TEXT];
};

// rules_read fills rules from a file. When a line of it is no rule it says so in
// error, leaves rules empty and returns false.
bool rules_read(struct rules *rules, const char *path, char *error, size_t size);

#endif
