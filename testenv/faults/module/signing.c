// SPDX-License-Identifier: Apache-2.0

// Signatures.

#include <string.h>

#include "token.h"

enum { MAX_HASH = 64 };

static const struct message_mechanism message_mechanisms[] = {
	{CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKM_RSA_PKCS_PSS, offsetof(struct rules, message_pss)},
	{CKM_SHA384_RSA_PKCS_PSS, CKM_SHA384, CKM_RSA_PKCS_PSS, offsetof(struct rules, message_pss)},
	{CKM_SHA512_RSA_PKCS_PSS, CKM_SHA512, CKM_RSA_PKCS_PSS, offsetof(struct rules, message_pss)},
	{CKM_ECDSA_SHA256, CKM_SHA256, CKM_ECDSA, offsetof(struct rules, message_ecdsa)},
	{CKM_ECDSA_SHA384, CKM_SHA384, CKM_ECDSA, offsetof(struct rules, message_ecdsa)},
	{CKM_ECDSA_SHA512, CKM_SHA512, CKM_ECDSA, offsetof(struct rules, message_ecdsa)},
};

const struct message_mechanism *message_mechanism_at(size_t i)
{
	for (size_t j = 0; j < sizeof(message_mechanisms) / sizeof(message_mechanisms[0]); j++) {
		const struct message_mechanism *mechanism = &message_mechanisms[j];
		const bool *enabled = (const bool *)((const char *)&rules + mechanism->enabled);

		if (*enabled && i-- == 0)
			return mechanism;
	}
	return NULL;
}

const struct message_mechanism *message_mechanism_of(CK_MECHANISM_TYPE type)
{
	const struct message_mechanism *mechanism;

	for (size_t i = 0; (mechanism = message_mechanism_at(i)) != NULL; i++) {
		if (mechanism->type == type)
			return mechanism;
	}
	return NULL;
}

// hash_behind hashes data in a session of its own: the application's is signing.
static CK_RV hash_behind(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_BYTE *data, CK_ULONG length,
			 CK_BYTE hash[MAX_HASH], CK_ULONG *hash_length)
{
	CK_MECHANISM mechanism = {type, NULL, 0};
	CK_SESSION_HANDLE session;
	CK_RV rv = behind->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &session);

	if (rv != CKR_OK)
		return rv;
	*hash_length = MAX_HASH;
	rv = behind->C_DigestInit(session, &mechanism);
	if (rv == CKR_OK)
		rv = behind->C_Digest(session, data, length, hash, hash_length);
	behind->C_CloseSession(session);
	return rv;
}

static CK_RV denied(CK_MECHANISM_TYPE type, bool at_sign)
{
	for (size_t i = 0; i < rules.denied_count; i++) {
		if (rules.denied[i].type == type && rules.denied[i].at_sign == at_sign)
			return rules.denied[i].rv;
	}
	return CKR_OK;
}

// wrong_hash is whether a mechanism asks for another hash than the keys have.
static bool wrong_hash(const CK_MECHANISM *mechanism)
{
	const CK_RSA_PKCS_PSS_PARAMS *pss = mechanism->pParameter;

	return rules.pss_hash != 0 && mechanism->mechanism == CKM_RSA_PKCS_PSS &&
	       mechanism->ulParameterLen == sizeof(*pss) && pss->hashAlg != rules.pss_hash;
}

CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	struct session *ours = session_of(session);
	const struct message_mechanism *message;
	CK_MECHANISM done;
	CK_RV rv;

	context_undo();
	if (ours == NULL || mechanism == NULL)
		return behind->C_SignInit(session, mechanism, key);
	if (login_lost())
		return CKR_USER_NOT_LOGGED_IN;
	rv = denied(mechanism->mechanism, false);
	if (rv != CKR_OK)
		return rv;
	if (wrong_hash(mechanism))
		return CKR_MECHANISM_PARAM_INVALID;

	done = *mechanism;
	message = message_mechanism_of(mechanism->mechanism);
	if (message != NULL)
		done.mechanism = message->sign;
	rv = behind->C_SignInit(session, &done, key);
	if (rv != CKR_OK)
		return rv;
	ours->signing = true;
	ours->mechanism = mechanism->mechanism;
	ours->message = message;
	context_want(session);
	return CKR_OK;
}

// permit is whether a signature may be made, or its length be asked for, in a
// session that has begun one.
static CK_RV permit(CK_SESSION_HANDLE session, const struct session *ours, bool length_only)
{
	bool authenticated = context_take(session, length_only);

	if (length_only)
		return CKR_OK;
	if (rules.always_authenticate && !authenticated)
		return CKR_USER_NOT_LOGGED_IN;
	if (!sessions_count_signature())
		return CKR_SESSION_HANDLE_INVALID;
	return denied(ours->mechanism, true);
}

CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature,
	   CK_ULONG *signature_length)
{
	struct session *ours = session_of(session);
	bool length_only = signature == NULL;
	CK_BYTE hash[MAX_HASH];
	CK_RV rv;

	if (ours == NULL || !ours->signing) {
		context_undo();
		return behind->C_Sign(session, data, length, signature, signature_length);
	}
	rv = permit(session, ours, length_only);
	if (rv != CKR_OK)
		return rv;
	if (ours->message != NULL) {
		rv = hash_behind(ours->slot, ours->message->hash, data, length, hash, &length);
		if (rv != CKR_OK)
			return rv;
		data = hash;
	}
	rv = behind->C_Sign(session, data, length, signature, signature_length);
	if (rv == CKR_OK ? !length_only : rv != CKR_BUFFER_TOO_SMALL)
		ours->signing = false;
	return rv;
}

// single_part is whether a session can only sign in one part.
static bool single_part(const struct session *ours)
{
	return ours != NULL && ours->signing && (rules.always_authenticate || ours->message != NULL);
}

CK_RV sign_update(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length)
{
	if (single_part(session_of(session)))
		return CKR_FUNCTION_NOT_SUPPORTED;
	return behind->C_SignUpdate(session, part, length);
}

CK_RV sign_final(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *signature_length)
{
	struct session *ours = session_of(session);
	CK_RV rv;

	if (single_part(ours))
		return CKR_FUNCTION_NOT_SUPPORTED;
	rv = behind->C_SignFinal(session, signature, signature_length);
	if (ours != NULL && (rv == CKR_OK ? signature != NULL : rv != CKR_BUFFER_TOO_SMALL))
		ours->signing = false;
	return rv;
}
