// SPDX-License-Identifier: Apache-2.0

// The token that the rules make of the one behind: the functions that do more
// than to pass a call through. Each takes the arguments of the C_ function of
// its name and returns its answer. A file uses those alone whose functions stand
// above its own here.

#ifndef FAULTS_TOKEN_H
#define FAULTS_TOKEN_H

#include <stdbool.h>

#include "cryptoki.h"
#include "rules.h"

// The rules in force. They do not change once the library is loaded.
extern struct rules rules;

// The module behind; NULL before the first C_Initialize.
extern CK_FUNCTION_LIST *behind;

enum {
	MAX_SESSIONS = 256,
	MAX_CRITERIA = 16, // attributes of a search that rules concern
};

// struct message_mechanism is a mechanism that hashes and signs, done as a hash
// and a mechanism that only signs.
struct message_mechanism {
	CK_MECHANISM_TYPE type;
	CK_MECHANISM_TYPE hash;
	CK_MECHANISM_TYPE sign;
	size_t enabled; // offset of the rule's flag in struct rules
};

// struct session is what there is to remember of an open session. Only the
// thread that uses the session touches it, but for opening and closing.
struct session {
	bool in_use;
	CK_SESSION_HANDLE handle; // 0 while it is being opened
	CK_SLOT_ID slot;
	bool has_generated; // a key pair

	// The search, from C_FindObjectsInit on.
	bool find_nothing;
	struct criterion {
		CK_ATTRIBUTE_TYPE type;
		CK_BYTE value[MAX_VALUE];
		CK_ULONG length;
	} criteria[MAX_CRITERIA];
	CK_ULONG criterion_count;

	// The signature, from C_SignInit on.
	bool signing;
	CK_MECHANISM_TYPE mechanism;
	const struct message_mechanism *message; // NULL: as behind
};

// sessions.c

// session_of returns the session with a handle; NULL for none of ours.
struct session *session_of(CK_SESSION_HANDLE handle);

// sessions_reset forgets all sessions: there are none after C_Finalize.
void sessions_reset(void);

// sessions_shared and sessions_release stand around each call that goes behind,
// so that sessions die only when nobody is in them.
void sessions_shared(void);
void sessions_release(void);

// sessions_count_signature counts a signature that is asked for. It is false
// when the sessions are dead by now.
bool sessions_count_signature(void);

// sessions_die_when_due kills all sessions after the last signature they had.
void sessions_die_when_due(void);

// login_lost is whether the login died with the sessions, login_made that there
// is one again.
bool login_lost(void);
void login_made(void);

// user_logged_in asks the module behind.
bool user_logged_in(CK_SESSION_HANDLE session);

CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
		   CK_SESSION_HANDLE *session);
CK_RV close_session(CK_SESSION_HANDLE session);
CK_RV close_all_sessions(CK_SLOT_ID slot);

// login.c

// context_want begins a signature that a context-specific login may be for, and
// context_undo undoes that, and the login.
void context_want(CK_SESSION_HANDLE session);
void context_undo(void);

// context_take is whether there was a login for a signature. Only the signature
// itself uses it up, not the question for its length.
bool context_take(CK_SESSION_HANDLE session, bool length_only);

CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG length);

// objects.c

CK_RV get_attribute_value(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template,
			  CK_ULONG count);
CK_RV generate_key_pair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template,
			CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count,
			CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key);
CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count);
CK_RV find_objects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count);

// signing.c

// message_mechanism_of returns how a mechanism is done, when a rule has it done.
const struct message_mechanism *message_mechanism_of(CK_MECHANISM_TYPE type);

// message_mechanism_at returns the mechanisms that rules have done, one by one
// from 0 on, and NULL after the last.
const struct message_mechanism *message_mechanism_at(size_t i);

CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key);
CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG length, CK_BYTE *signature,
	   CK_ULONG *signature_length);
CK_RV sign_update(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG length);
CK_RV sign_final(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *signature_length);

// slots.c

// slot_list_unseen is whether a slot can't be known yet, under slot-list-first.
bool slot_list_unseen(void);
void slots_reset(void);

CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count);
CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info);
CK_RV get_mechanism_list(CK_SLOT_ID slot, CK_MECHANISM_TYPE *mechanisms, CK_ULONG *count);
CK_RV get_mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info);

#endif
