// SPDX-License-Identifier: Apache-2.0

// Logins: that of the user, and the one that some keys want for each signature.

#include <pthread.h>
#include <string.h>

#include "token.h"

// context is the signature that a context-specific login is for. There is one
// at most, because a call of any other session undoes it.
static struct {
	pthread_mutex_t lock;
	enum { UNDONE, WANTED, GIVEN } login;
	CK_SESSION_HANDLE session;
} context = {PTHREAD_MUTEX_INITIALIZER, UNDONE, CK_INVALID_HANDLE};

void context_want(CK_SESSION_HANDLE session)
{
	pthread_mutex_lock(&context.lock);
	context.login = WANTED;
	context.session = session;
	pthread_mutex_unlock(&context.lock);
}

void context_undo(void)
{
	pthread_mutex_lock(&context.lock);
	context.login = UNDONE;
	pthread_mutex_unlock(&context.lock);
}

bool context_take(CK_SESSION_HANDLE session, bool length_only)
{
	bool given;

	pthread_mutex_lock(&context.lock);
	given = context.login == GIVEN && context.session == session;
	if (context.session != session || !length_only)
		context.login = UNDONE;
	pthread_mutex_unlock(&context.lock);
	return given;
}

// context_login is C_Login with CKU_CONTEXT_SPECIFIC, under always-authenticate.
static CK_RV context_login(CK_SESSION_HANDLE session, const CK_UTF8CHAR *pin, CK_ULONG length)
{
	const struct session *ours = session_of(session);

	if (ours == NULL)
		return CKR_SESSION_HANDLE_INVALID;
	if (!ours->signing)
		return CKR_OPERATION_NOT_INITIALIZED;
	if (pin == NULL || length != strlen(rules.context_pin) || memcmp(pin, rules.context_pin, length) != 0) {
		context_undo();
		return CKR_PIN_INCORRECT;
	}
	pthread_mutex_lock(&context.lock);
	context.login = context.session == session && context.login == WANTED ? GIVEN : UNDONE;
	pthread_mutex_unlock(&context.lock);
	return CKR_OK;
}

CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG length)
{
	CK_RV rv;

	if (rules.no_login)
		return CKR_FUNCTION_FAILED;
	if (rules.pin_pad && pin == NULL) {
		pin = (CK_UTF8CHAR *)rules.pin_pad_pin;
		length = strlen(rules.pin_pad_pin);
	}
	if (rules.always_authenticate && user == CKU_CONTEXT_SPECIFIC)
		return context_login(session, pin, length);
	context_undo();
	if (rules.user_type_given) {
		if (user != rules.user_type)
			return CKR_USER_TYPE_INVALID;
		user = CKU_USER;
	}
	rv = behind->C_Login(session, user, pin, length);
	if (rv == CKR_OK && user == CKU_USER)
		login_made();
	return rv;
}
