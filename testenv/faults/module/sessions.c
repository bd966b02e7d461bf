// SPDX-License-Identifier: Apache-2.0

// Sessions, and how they die.

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "token.h"

// table guards which entries of sessions are in use, and their handles.
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static struct session sessions[MAX_SESSIONS];

// life is held for reading by calls, for writing by the end of all sessions.
// Writers come first: calls would keep the sessions alive for ever.
static pthread_rwlock_t life = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static atomic_ulong signatures; // asked for since the last end
static atomic_bool lost;

struct session *session_of(CK_SESSION_HANDLE handle)
{
	struct session *found = NULL;

	pthread_mutex_lock(&table);
	for (size_t i = 0; handle != CK_INVALID_HANDLE && found == NULL && i < MAX_SESSIONS; i++) {
		if (sessions[i].in_use && sessions[i].handle == handle)
			found = &sessions[i];
	}
	pthread_mutex_unlock(&table);
	return found;
}

// reserve takes a free entry; NULL when the token has no more.
static struct session *reserve(CK_SLOT_ID slot)
{
	struct session *free = NULL;
	unsigned long open = 0;

	pthread_mutex_lock(&table);
	for (size_t i = 0; i < MAX_SESSIONS; i++) {
		if (sessions[i].in_use)
			open++;
		else if (free == NULL)
			free = &sessions[i];
	}
	if (rules.max_sessions != 0 && open >= rules.max_sessions)
		free = NULL;
	if (free != NULL) {
		memset(free, 0, sizeof(*free));
		free->in_use = true;
		free->slot = slot;
	}
	pthread_mutex_unlock(&table);
	return free;
}

static void set_handle(struct session *session, CK_SESSION_HANDLE handle)
{
	pthread_mutex_lock(&table);
	session->handle = handle;
	pthread_mutex_unlock(&table);
}

static void forget(struct session *session)
{
	pthread_mutex_lock(&table);
	session->in_use = false;
	pthread_mutex_unlock(&table);
}

void sessions_reset(void)
{
	pthread_mutex_lock(&table);
	for (size_t i = 0; i < MAX_SESSIONS; i++)
		sessions[i].in_use = false;
	pthread_mutex_unlock(&table);
	signatures = 0;
	lost = false;
}

void sessions_shared(void)
{
	if (rules.sessions_die != 0)
		pthread_rwlock_rdlock(&life);
}

void sessions_release(void)
{
	if (rules.sessions_die != 0)
		pthread_rwlock_unlock(&life);
}

bool sessions_count_signature(void)
{
	return rules.sessions_die == 0 || atomic_fetch_add(&signatures, 1) < rules.sessions_die;
}

void sessions_die_when_due(void)
{
	if (rules.sessions_die == 0 || signatures < rules.sessions_die)
		return;
	pthread_rwlock_wrlock(&life);
	if (signatures >= rules.sessions_die) { // nobody else was faster
		for (size_t i = 0; i < MAX_SESSIONS; i++) {
			if (!sessions[i].in_use)
				continue;
			if (user_logged_in(sessions[i].handle))
				lost = true;
			// At the second session of a slot there is nothing left to close.
			behind->C_CloseAllSessions(sessions[i].slot);
			forget(&sessions[i]);
		}
		signatures = 0;
	}
	pthread_rwlock_unlock(&life);
}

bool login_lost(void)
{
	return lost;
}

void login_made(void)
{
	lost = false;
}

bool user_logged_in(CK_SESSION_HANDLE session)
{
	CK_SESSION_INFO info;

	return behind->C_GetSessionInfo(session, &info) == CKR_OK &&
	       (info.state == CKS_RO_USER_FUNCTIONS || info.state == CKS_RW_USER_FUNCTIONS);
}

CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify,
		   CK_SESSION_HANDLE *session)
{
	struct session *ours;
	CK_RV rv;

	if (rules.read_only && (flags & CKF_RW_SESSION) != 0)
		return CKR_TOKEN_WRITE_PROTECTED;
	if (rules.read_write_only != CKR_OK && (flags & CKF_RW_SESSION) == 0)
		return rules.read_write_only;
	ours = reserve(slot);
	if (ours == NULL)
		return CKR_SESSION_COUNT;
	rv = behind->C_OpenSession(slot, flags, application, notify, session);
	if (rv != CKR_OK) {
		forget(ours);
		return rv;
	}
	set_handle(ours, *session);
	if (rules.no_login) // fails where an earlier session did it
		behind->C_Login(*session, CKU_USER, (CK_UTF8CHAR *)rules.no_login_pin, strlen(rules.no_login_pin));
	return CKR_OK;
}

CK_RV close_session(CK_SESSION_HANDLE session)
{
	struct session *ours = session_of(session);
	CK_RV rv = behind->C_CloseSession(session);

	if (rv == CKR_OK && ours != NULL)
		forget(ours);
	return rv;
}

CK_RV close_all_sessions(CK_SLOT_ID slot)
{
	CK_RV rv = behind->C_CloseAllSessions(slot);

	if (rv != CKR_OK)
		return rv;
	pthread_mutex_lock(&table);
	for (size_t i = 0; i < MAX_SESSIONS; i++) {
		if (sessions[i].slot == slot)
			sessions[i].in_use = false;
	}
	pthread_mutex_unlock(&table);
	return CKR_OK;
}
