// SPDX-License-Identifier: Apache-2.0

// Slots, what their tokens say of themselves, and their lists of mechanisms.

#include <stdatomic.h>
#include <string.h>

#include "token.h"

enum { MAX_MECHANISMS_BEHIND = 1024 };

static atomic_bool slot_list_seen;

bool slot_list_unseen(void)
{
	return rules.slot_list_first && !slot_list_seen;
}

void slots_reset(void)
{
	slot_list_seen = false;
}

CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
	CK_RV rv = behind->C_GetSlotList(present, slots, count);

	if (rv == CKR_OK)
		slot_list_seen = true;
	return rv;
}

CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = behind->C_GetTokenInfo(slot, info);

	if (rv != CKR_OK)
		return rv;
	if (rules.read_only)
		info->flags |= CKF_WRITE_PROTECTED;
	if (rules.pin_pad)
		info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
	if (rules.states_sessions != 0)
		info->ulMaxSessionCount = rules.states_sessions;
	info->flags |= rules.flags_set;
	info->flags &= ~rules.flags_cleared;
	return CKR_OK;
}

static bool contains(const CK_MECHANISM_TYPE *list, CK_ULONG count, CK_MECHANISM_TYPE type)
{
	for (CK_ULONG i = 0; i < count; i++) {
		if (list[i] == type)
			return true;
	}
	return false;
}

// answer_list gives a list of mechanisms as C_GetMechanismList does.
static CK_RV answer_list(const CK_MECHANISM_TYPE *list, CK_ULONG length, CK_MECHANISM_TYPE *mechanisms,
			 CK_ULONG *count)
{
	CK_ULONG room = *count;

	*count = length;
	if (mechanisms == NULL)
		return CKR_OK;
	if (room < length)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(mechanisms, list, length * sizeof(*list));
	return CKR_OK;
}

CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE *mechanisms, CK_ULONG *count)
{
	CK_MECHANISM_TYPE list[MAX_MECHANISMS_BEHIND];
	CK_ULONG length = MAX_MECHANISMS_BEHIND;
	const struct message_mechanism *message;
	CK_RV rv;

	if (count == NULL || (rules.mechanism_count == 0 && message_mechanism_at(0) == NULL))
		return behind->C_GetMechanismList(slot, mechanisms, count);

	// Behind has a say on the slot in any case.
	rv = behind->C_GetMechanismList(slot, list, &length);
	if (rv != CKR_OK)
		return rv;
	if (rules.mechanism_count > 0)
		return answer_list(rules.mechanisms, rules.mechanism_count, mechanisms, count);
	for (size_t i = 0; (message = message_mechanism_at(i)) != NULL; i++) {
		if (length < MAX_MECHANISMS_BEHIND && !contains(list, length, message->type))
			list[length++] = message->type;
	}
	return answer_list(list, length, mechanisms, count);
}

CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	const struct message_mechanism *message = message_mechanism_of(type);

	return behind->C_GetMechanismInfo(slot, message == NULL ? type : message->sign, info);
}
