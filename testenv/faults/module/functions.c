// SPDX-License-Identifier: Apache-2.0

// The 68 functions of Cryptoki, in the order of the specification: who answers
// each, what the journal says of its arguments, and where its output is.

#include "calls.h"
#include "lifecycle.h"
#include "token.h"

// FUNCTION(name, parameters, answer, output, detail format, arguments...)
#define FUNCTION(name, parameters, answer, output, ...)                      \
	CK_RV name parameters                                                \
	{                                                                    \
		struct call call;                                            \
                                                                             \
		if (call_enter(&call, FUNCTION_##name, __VA_ARGS__))         \
			call.rv = answer;                                    \
		return call_leave(&call, output);                            \
	}

#define NO_DETAIL "%s", ""

// General.

FUNCTION(C_Initialize, (void *args),
	 initialize(args), NOTHING, "%s", text_of_init_args(args).text)
FUNCTION(C_Finalize, (void *reserved),
	 finalize(reserved), NOTHING, NO_DETAIL)
FUNCTION(C_GetInfo, (CK_INFO *info),
	 behind->C_GetInfo(info), STRUCT(info), NO_DETAIL)

__attribute__((visibility("default")))
FUNCTION(C_GetFunctionList, (CK_FUNCTION_LIST **list),
	 get_function_list(list), NOTHING, NO_DETAIL)

// Slots and tokens.

FUNCTION(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count),
	 get_slot_list(present, slots, count), LIST(slots, count), "present=%d", present)
FUNCTION(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO *info),
	 behind->C_GetSlotInfo(slot, info), STRUCT(info), "slot=%lu", slot)
FUNCTION(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info),
	 get_token_info(slot, info), STRUCT(info), "slot=%lu", slot)
FUNCTION(C_GetMechanismList, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *mechanisms, CK_ULONG *count),
	 get_mechanism_list(slot, mechanisms, count), LIST(mechanisms, count), "slot=%lu", slot)
FUNCTION(C_GetMechanismInfo, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info),
	 get_mechanism_info(slot, type, info), STRUCT(info), "slot=%lu mechanism=0x%lx", slot, type)
FUNCTION(C_InitToken, (CK_SLOT_ID slot, CK_UTF8CHAR *pin, CK_ULONG length, CK_UTF8CHAR *label),
	 behind->C_InitToken(slot, pin, length, label), NOTHING,
	 "slot=%lu %s", slot, text_of_pin(pin, length).text)
FUNCTION(C_InitPIN, (CK_SESSION_HANDLE session, CK_UTF8CHAR *pin, CK_ULONG length),
	 behind->C_InitPIN(session, pin, length), NOTHING,
	 "session=%lu %s", session, text_of_pin(pin, length).text)
FUNCTION(C_SetPIN, (CK_SESSION_HANDLE session, CK_UTF8CHAR *old, CK_ULONG old_length,
		    CK_UTF8CHAR *new, CK_ULONG new_length),
	 behind->C_SetPIN(session, old, old_length, new, new_length), NOTHING,
	 "session=%lu old-%s new-%s", session, text_of_pin(old, old_length).text,
	 text_of_pin(new, new_length).text)

// Sessions.

FUNCTION(C_OpenSession, (CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
			 CK_SESSION_HANDLE *session),
	 open_session(slot, flags, application, notify, session), HANDLE(session),
	 "slot=%lu flags=0x%lx", slot, flags)
FUNCTION(C_CloseSession, (CK_SESSION_HANDLE session),
	 close_session(session), NOTHING, "session=%lu", session)
FUNCTION(C_CloseAllSessions, (CK_SLOT_ID slot),
	 close_all_sessions(slot), NOTHING, "slot=%lu", slot)
FUNCTION(C_GetSessionInfo, (CK_SESSION_HANDLE session, CK_SESSION_INFO *info),
	 behind->C_GetSessionInfo(session, info), STRUCT(info), "session=%lu", session)
FUNCTION(C_GetOperationState, (CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG *length),
	 behind->C_GetOperationState(session, state, length), BYTES(state, length), "session=%lu", session)
FUNCTION(C_SetOperationState, (CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG length,
			       CK_OBJECT_HANDLE encryption, CK_OBJECT_HANDLE authentication),
	 behind->C_SetOperationState(session, state, length, encryption, authentication), NOTHING,
	 "session=%lu length=%lu", session, length)
FUNCTION(C_Login, (CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG length),
	 login(session, user, pin, length), NOTHING,
	 "session=%lu user=0x%lx %s", session, user, text_of_pin(pin, length).text)
FUNCTION(C_Logout, (CK_SESSION_HANDLE session),
	 behind->C_Logout(session), NOTHING, "session=%lu", session)

// Objects.

FUNCTION(C_CreateObject, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count,
			  CK_OBJECT_HANDLE *object),
	 behind->C_CreateObject(session, template, count, object), HANDLE(object),
	 "session=%lu %s", session, text_of_template(template, count).text)
FUNCTION(C_CopyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
			CK_ULONG count, CK_OBJECT_HANDLE *copy),
	 behind->C_CopyObject(session, object, template, count, copy), HANDLE(copy),
	 "session=%lu object=%lu %s", session, object, text_of_template(template, count).text)
FUNCTION(C_DestroyObject, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object),
	 behind->C_DestroyObject(session, object), NOTHING, "session=%lu object=%lu", session, object)
FUNCTION(C_GetObjectSize, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size),
	 behind->C_GetObjectSize(session, object, size), NOTHING, "session=%lu object=%lu", session, object)
FUNCTION(C_GetAttributeValue, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
			       CK_ULONG count),
	 get_attribute_value(session, object, template, count), VALUES(template, count),
	 "session=%lu object=%lu %s", session, object, text_of_types(template, count).text)
FUNCTION(C_SetAttributeValue, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
			       CK_ULONG count),
	 behind->C_SetAttributeValue(session, object, template, count), NOTHING,
	 "session=%lu object=%lu %s", session, object, text_of_types(template, count).text)
FUNCTION(C_FindObjectsInit, (CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count),
	 find_objects_init(session, template, count), NOTHING,
	 "session=%lu %s", session, text_of_template(template, count).text)
FUNCTION(C_FindObjects, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count),
	 find_objects(session, objects, max, count), LIST(objects, count), "session=%lu max=%lu", session, max)
FUNCTION(C_FindObjectsFinal, (CK_SESSION_HANDLE session),
	 behind->C_FindObjectsFinal(session), NOTHING, "session=%lu", session)

// Encryption and decryption.

FUNCTION(C_EncryptInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	 behind->C_EncryptInit(session, mechanism, key), NOTHING,
	 "session=%lu key=%lu %s", session, key, text_of_mechanism(mechanism).text)
FUNCTION(C_Encrypt, (CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *encrypted,
		     CK_ULONG *encrypted_length),
	 behind->C_Encrypt(session, data, length, encrypted, encrypted_length),
	 BYTES(encrypted, encrypted_length), "session=%lu length=%lu", session, length)
FUNCTION(C_EncryptUpdate, (CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length, CK_BYTE *encrypted,
			   CK_ULONG *encrypted_length),
	 behind->C_EncryptUpdate(session, part, length, encrypted, encrypted_length),
	 BYTES(encrypted, encrypted_length), "session=%lu length=%lu", session, length)
FUNCTION(C_EncryptFinal, (CK_SESSION_HANDLE session, CK_BYTE *last, CK_ULONG *length),
	 behind->C_EncryptFinal(session, last, length), BYTES(last, length), "session=%lu", session)
FUNCTION(C_DecryptInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	 behind->C_DecryptInit(session, mechanism, key), NOTHING,
	 "session=%lu key=%lu %s", session, key, text_of_mechanism(mechanism).text)
FUNCTION(C_Decrypt, (CK_SESSION_HANDLE session, CK_BYTE *encrypted, CK_ULONG length, CK_BYTE *data,
		     CK_ULONG *data_length),
	 behind->C_Decrypt(session, encrypted, length, data, data_length), BYTES(data, data_length),
	 "session=%lu length=%lu", session, length)
FUNCTION(C_DecryptUpdate, (CK_SESSION_HANDLE session, CK_BYTE *encrypted, CK_ULONG length, CK_BYTE *part,
			   CK_ULONG *part_length),
	 behind->C_DecryptUpdate(session, encrypted, length, part, part_length), BYTES(part, part_length),
	 "session=%lu length=%lu", session, length)
FUNCTION(C_DecryptFinal, (CK_SESSION_HANDLE session, CK_BYTE *last, CK_ULONG *length),
	 behind->C_DecryptFinal(session, last, length), BYTES(last, length), "session=%lu", session)

// Digests.

FUNCTION(C_DigestInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism),
	 behind->C_DigestInit(session, mechanism), NOTHING,
	 "session=%lu %s", session, text_of_mechanism(mechanism).text)
FUNCTION(C_Digest, (CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *digest,
		    CK_ULONG *digest_length),
	 behind->C_Digest(session, data, length, digest, digest_length), BYTES(digest, digest_length),
	 "session=%lu length=%lu", session, length)
FUNCTION(C_DigestUpdate, (CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length),
	 behind->C_DigestUpdate(session, part, length), NOTHING, "session=%lu length=%lu", session, length)
FUNCTION(C_DigestKey, (CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key),
	 behind->C_DigestKey(session, key), NOTHING, "session=%lu key=%lu", session, key)
FUNCTION(C_DigestFinal, (CK_SESSION_HANDLE session, CK_BYTE *digest, CK_ULONG *length),
	 behind->C_DigestFinal(session, digest, length), BYTES(digest, length), "session=%lu", session)

// Signatures.

FUNCTION(C_SignInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	 sign_init(session, mechanism, key), NOTHING,
	 "session=%lu key=%lu %s", session, key, text_of_mechanism(mechanism).text)
FUNCTION(C_Sign, (CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature,
		  CK_ULONG *signature_length),
	 sign(session, data, length, signature, signature_length), BYTES(signature, signature_length),
	 "session=%lu length=%lu%s", session, length, signature == NULL ? " length-only" : "")
FUNCTION(C_SignUpdate, (CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length),
	 sign_update(session, part, length), NOTHING, "session=%lu length=%lu", session, length)
FUNCTION(C_SignFinal, (CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *length),
	 sign_final(session, signature, length), BYTES(signature, length),
	 "session=%lu%s", session, signature == NULL ? " length-only" : "")
FUNCTION(C_SignRecoverInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	 behind->C_SignRecoverInit(session, mechanism, key), NOTHING,
	 "session=%lu key=%lu %s", session, key, text_of_mechanism(mechanism).text)
FUNCTION(C_SignRecover, (CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature,
			 CK_ULONG *signature_length),
	 behind->C_SignRecover(session, data, length, signature, signature_length),
	 BYTES(signature, signature_length), "session=%lu length=%lu", session, length)
FUNCTION(C_VerifyInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	 behind->C_VerifyInit(session, mechanism, key), NOTHING,
	 "session=%lu key=%lu %s", session, key, text_of_mechanism(mechanism).text)
FUNCTION(C_Verify, (CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature,
		    CK_ULONG signature_length),
	 behind->C_Verify(session, data, length, signature, signature_length), NOTHING,
	 "session=%lu length=%lu", session, length)
FUNCTION(C_VerifyUpdate, (CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length),
	 behind->C_VerifyUpdate(session, part, length), NOTHING, "session=%lu length=%lu", session, length)
FUNCTION(C_VerifyFinal, (CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG length),
	 behind->C_VerifyFinal(session, signature, length), NOTHING, "session=%lu length=%lu", session, length)
FUNCTION(C_VerifyRecoverInit, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key),
	 behind->C_VerifyRecoverInit(session, mechanism, key), NOTHING,
	 "session=%lu key=%lu %s", session, key, text_of_mechanism(mechanism).text)
FUNCTION(C_VerifyRecover, (CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG length, CK_BYTE *data,
			   CK_ULONG *data_length),
	 behind->C_VerifyRecover(session, signature, length, data, data_length), BYTES(data, data_length),
	 "session=%lu length=%lu", session, length)

// Two operations at once.

FUNCTION(C_DigestEncryptUpdate, (CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length,
				 CK_BYTE *encrypted, CK_ULONG *encrypted_length),
	 behind->C_DigestEncryptUpdate(session, part, length, encrypted, encrypted_length),
	 BYTES(encrypted, encrypted_length), "session=%lu length=%lu", session, length)
FUNCTION(C_DecryptDigestUpdate, (CK_SESSION_HANDLE session, CK_BYTE *encrypted, CK_ULONG length,
				 CK_BYTE *part, CK_ULONG *part_length),
	 behind->C_DecryptDigestUpdate(session, encrypted, length, part, part_length),
	 BYTES(part, part_length), "session=%lu length=%lu", session, length)
FUNCTION(C_SignEncryptUpdate, (CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length,
			       CK_BYTE *encrypted, CK_ULONG *encrypted_length),
	 behind->C_SignEncryptUpdate(session, part, length, encrypted, encrypted_length),
	 BYTES(encrypted, encrypted_length), "session=%lu length=%lu", session, length)
FUNCTION(C_DecryptVerifyUpdate, (CK_SESSION_HANDLE session, CK_BYTE *encrypted, CK_ULONG length,
				 CK_BYTE *part, CK_ULONG *part_length),
	 behind->C_DecryptVerifyUpdate(session, encrypted, length, part, part_length),
	 BYTES(part, part_length), "session=%lu length=%lu", session, length)

// Keys.

FUNCTION(C_GenerateKey, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template,
			 CK_ULONG count, CK_OBJECT_HANDLE *key),
	 behind->C_GenerateKey(session, mechanism, template, count, key), HANDLE(key),
	 "session=%lu %s %s", session, text_of_mechanism(mechanism).text, text_of_template(template, count).text)
FUNCTION(C_GenerateKeyPair, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
			     CK_ATTRIBUTE *public_template, CK_ULONG public_count,
			     CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			     CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key),
	 generate_key_pair(session, mechanism, public_template, public_count, private_template, private_count,
			   public_key, private_key),
	 HANDLE(private_key), "session=%lu %s public-%s private-%s", session,
	 text_of_mechanism(mechanism).text, text_of_template(public_template, public_count).text,
	 text_of_template(private_template, private_count).text)
FUNCTION(C_WrapKey, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping,
		     CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG *length),
	 behind->C_WrapKey(session, mechanism, wrapping, key, wrapped, length), BYTES(wrapped, length),
	 "session=%lu key=%lu %s", session, key, text_of_mechanism(mechanism).text)
FUNCTION(C_UnwrapKey, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping,
		       CK_BYTE *wrapped, CK_ULONG length, CK_ATTRIBUTE *template, CK_ULONG count,
		       CK_OBJECT_HANDLE *key),
	 behind->C_UnwrapKey(session, mechanism, unwrapping, wrapped, length, template, count, key),
	 HANDLE(key), "session=%lu %s %s", session, text_of_mechanism(mechanism).text,
	 text_of_template(template, count).text)
FUNCTION(C_DeriveKey, (CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base,
		       CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key),
	 behind->C_DeriveKey(session, mechanism, base, template, count, key), HANDLE(key),
	 "session=%lu base=%lu %s %s", session, base, text_of_mechanism(mechanism).text,
	 text_of_template(template, count).text)

// Random numbers.

FUNCTION(C_SeedRandom, (CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG length),
	 behind->C_SeedRandom(session, seed, length), NOTHING, "session=%lu length=%lu", session, length)
FUNCTION(C_GenerateRandom, (CK_SESSION_HANDLE session, CK_BYTE *random, CK_ULONG length),
	 behind->C_GenerateRandom(session, random, length), NOTHING, "session=%lu length=%lu", session, length)

// Left over from parallel sessions.

FUNCTION(C_GetFunctionStatus, (CK_SESSION_HANDLE session),
	 behind->C_GetFunctionStatus(session), NOTHING, "session=%lu", session)
FUNCTION(C_CancelFunction, (CK_SESSION_HANDLE session),
	 behind->C_CancelFunction(session), NOTHING, "session=%lu", session)
FUNCTION(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved),
	 behind->C_WaitForSlotEvent(flags, slot, reserved), NOTHING, "flags=0x%lx", flags)
