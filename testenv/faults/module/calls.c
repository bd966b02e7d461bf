// SPDX-License-Identifier: Apache-2.0

#include "calls.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "actions.h"
#include "token.h"

enum { NO_FUNCTION = -1 };

static atomic_ulong counts[FUNCTION_COUNT];

// inside is the function that a thread is in, under cant-lock.
static atomic_int inside = NO_FUNCTION;

static bool of_library(enum function function)
{
	return function == FUNCTION_load || function == FUNCTION_unload;
}

// needs_behind is whether a function can't be answered before C_Initialize.
static bool needs_behind(enum function function)
{
	return function != FUNCTION_C_Initialize && function != FUNCTION_C_GetFunctionList && !of_library(function);
}

static bool takes_slot(enum function function)
{
	switch (function) {
	case FUNCTION_C_GetSlotInfo:
	case FUNCTION_C_GetTokenInfo:
	case FUNCTION_C_GetMechanismList:
	case FUNCTION_C_GetMechanismInfo:
	case FUNCTION_C_InitToken:
	case FUNCTION_C_OpenSession:
	case FUNCTION_C_CloseAllSessions:
		return true;
	default:
		return false;
	}
}

static void enter_alone(enum function function)
{
	int other = NO_FUNCTION;

	if (!rules.cant_lock || of_library(function) || atomic_compare_exchange_strong(&inside, &other, function))
		return;
	journal_write("OVERLAP %s during %s", function_names[function], function_names[other]);
	abort();
}

static void leave_alone(enum function function)
{
	if (rules.cant_lock && !of_library(function))
		inside = NO_FUNCTION;
}

// next_rule returns the first rule on a call from rules.calls[*i] on, and sets
// *i behind it.
static const struct call_rule *next_rule(const struct call *call, bool after, size_t *i)
{
	while (*i < rules.call_count) {
		const struct call_rule *rule = &rules.calls[(*i)++];

		if (rule->function == call->function && rule->after == after &&
		    (rule->nth == 0 || rule->nth == call->nth))
			return rule;
	}
	return NULL;
}

bool call_enter(struct call *call, enum function function, const char *format, ...)
{
	const struct call_rule *rule;
	va_list arguments;

	*call = (struct call){.function = function, .rv = CKR_OK};
	call->nth = atomic_fetch_add(&counts[function], 1) + 1;
	va_start(arguments, format);
	vsnprintf(call->detail, sizeof(call->detail), format, arguments);
	va_end(arguments);
	journal_write("%s%s%s", function_names[function], call->detail[0] == '\0' ? "" : " ", call->detail);

	enter_alone(function);
	if (function != FUNCTION_C_SignInit && function != FUNCTION_C_Login && function != FUNCTION_C_Sign)
		context_undo(); // these three say themselves what they do to it
	if (rules.delay_calls != 0 && !of_library(function))
		perform(ACTION_DELAY, rules.delay_calls);
	for (size_t i = 0; (rule = next_rule(call, false, &i)) != NULL;) {
		if (rule->action == ACTION_RV) {
			call->rv = rule->argument;
			return false;
		}
		perform(rule->action, rule->argument);
	}
	if (!needs_behind(function)) {
		call->answered = true;
		return true;
	}
	if (behind == NULL) {
		call->rv = CKR_CRYPTOKI_NOT_INITIALIZED;
		return false;
	}
	if (takes_slot(function) && slot_list_unseen()) {
		call->rv = CKR_SLOT_ID_INVALID;
		return false;
	}
	sessions_shared();
	call->answered = true;
	return true;
}

static void flip(CK_BYTE *data, CK_ULONG length)
{
	for (CK_ULONG i = 0; data != NULL && i < length; i++)
		data[i] = (CK_BYTE)~data[i];
}

// alter_bytes alters an output of *count items of size bytes. There is no data
// where only their number was asked for.
static void alter_bytes(const struct call_rule *rule, CK_BYTE *data, CK_ULONG *count, CK_ULONG size)
{
	switch (rule->action) {
	case ACTION_GARBLE:
		flip(data, *count * size);
		break;
	case ACTION_SHORT:
		*count -= data != NULL && *count > 0;
		break;
	case ACTION_EMPTY:
		*count = data != NULL ? 0 : *count;
		break;
	case ACTION_LONG:
		*count += rule->argument;
		break;
	case ACTION_UNAVAILABLE:
		*count = CK_UNAVAILABLE_INFORMATION;
		break;
	default:
		break;
	}
}

static void alter_values(const struct call_rule *rule, CK_ATTRIBUTE *template, CK_ULONG count)
{
	for (CK_ULONG i = 0; template != NULL && i < count; i++) {
		if (template[i].ulValueLen != CK_UNAVAILABLE_INFORMATION)
			alter_bytes(rule, template[i].pValue, &template[i].ulValueLen, 1);
	}
}

static void alter(struct call *call, const struct call_rule *rule, const struct output *output)
{
	switch (output->kind) {
	case OUTPUT_LIST:
		// An empty list is empty from the question for its length on.
		if (rule->action == ACTION_EMPTY && output->count != NULL &&
		    (call->rv == CKR_OK || call->rv == CKR_BUFFER_TOO_SMALL)) {
			*output->count = 0;
			call->rv = CKR_OK;
			break;
		}
		// fall through
	case OUTPUT_BYTES:
		if (call->rv == CKR_OK && output->count != NULL)
			alter_bytes(rule, output->data, output->count, output->size);
		break;
	case OUTPUT_VALUES:
		// The other attributes have their values where one has none.
		if (call->rv == CKR_OK || call->rv == CKR_ATTRIBUTE_TYPE_INVALID ||
		    call->rv == CKR_ATTRIBUTE_SENSITIVE || call->rv == CKR_BUFFER_TOO_SMALL)
			alter_values(rule, output->data, output->size);
		break;
	case OUTPUT_HANDLE:
	case OUTPUT_STRUCT:
		if (call->rv == CKR_OK)
			flip(output->data, output->size);
		break;
	case NO_OUTPUT:
		// outputs of rules.c and the functions of functions.c disagree.
		journal_write("BAD-RULES %s has no output to alter", function_names[call->function]);
		abort();
	}
}

static void leave_journal(const struct call *call, const struct output *output)
{
	struct text gave = {""};

	if (call->answered && call->rv == CKR_OK) {
		if (output->kind == OUTPUT_HANDLE && output->data != NULL)
			snprintf(gave.text, sizeof(gave.text), " gave=%lu", *(CK_ULONG *)output->data);
		else if (output->count != NULL)
			snprintf(gave.text, sizeof(gave.text), " gave=%lu", *output->count);
	}
	journal_write("%s%s%s%s -> 0x%lx", function_names[call->function], call->detail[0] == '\0' ? "" : " ",
		      call->detail, gave.text, call->rv);
}

CK_RV call_leave(struct call *call, struct output output)
{
	const struct call_rule *rule;

	if (call->answered && needs_behind(call->function))
		sessions_release();
	if (call->function == FUNCTION_C_Sign)
		sessions_die_when_due();
	for (size_t i = 0; (rule = next_rule(call, true, &i)) != NULL;) {
		switch (rule->action) {
		case ACTION_RV:
			call->rv = rule->argument;
			break;
		case ACTION_GARBLE:
		case ACTION_SHORT:
		case ACTION_EMPTY:
		case ACTION_LONG:
		case ACTION_UNAVAILABLE:
			if (call->answered)
				alter(call, rule, &output);
			break;
		default:
			perform(rule->action, rule->argument);
		}
	}
	leave_alone(call->function);
	leave_journal(call, &output);
	return call->rv;
}
