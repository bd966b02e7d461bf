// SPDX-License-Identifier: Apache-2.0

// The parser of rules, and their documentation.
//
// A file of rules has one rule a line. Empty lines and lines that start with #
// are comments. Words are separated by blanks. Numbers are decimal, or
// hexadecimal after 0x. A text is the rest of its line.

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rules.h"

enum { MAX_FILE = 64 * 1024 };

const char *const function_names[FUNCTION_COUNT] = {
#define CK_PKCS11_FUNCTION_INFO(name) #name,
#include <pkcs11f.h>
#undef CK_PKCS11_FUNCTION_INFO
	"load",
	"unload",
};

// Parsers of arguments return NULL, or what is wrong. They take their words off
// *rest; what they leave there is one word too many.

static const char too_many[] = "too many rules of this kind";

// word takes the next word off *rest. At the end of the line it is NULL.
static char *word(char **rest)
{
	char *start = *rest + strspn(*rest, " \t");
	char *end = start + strcspn(start, " \t");

	*rest = *end == '\0' ? end : end + 1;
	*end = '\0';
	return *start == '\0' ? NULL : start;
}

static bool number(const char *text, unsigned long *value)
{
	bool hex = text != NULL && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hex ? text + 2 : text;
	char *end;

	// strtoul alone would take signs and blanks.
	if (digits == NULL || !isxdigit((unsigned char)*digits))
		return false;
	errno = 0;
	*value = strtoul(digits, &end, hex ? 16 : 10);
	return errno == 0 && *end == '\0' && end != digits;
}

static const char *parse_text(char **rest, char text[MAX_TEXT])
{
	char *start = *rest + strspn(*rest, " \t");

	if (*start == '\0')
		return "a text is missing";
	if (strlen(start) >= MAX_TEXT)
		return "the text is too long";
	strcpy(text, start);
	*rest = start + strlen(start);
	return NULL;
}

static const char *parse_class(char **rest, CK_OBJECT_CLASS *class)
{
	static const struct {
		const char *name;
		CK_OBJECT_CLASS class;
	} classes[] = {
		{"cert", CKO_CERTIFICATE},
		{"public", CKO_PUBLIC_KEY},
		{"private", CKO_PRIVATE_KEY},
	};
	const char *name = word(rest);

	for (size_t i = 0; name != NULL && i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (strcmp(name, classes[i].name) == 0) {
			*class = classes[i].class;
			return NULL;
		}
	}
	return "not a class of objects: cert, public or private";
}

static const char *parse_value(const char *hex, struct attribute_rule *rule)
{
	size_t digits = hex == NULL ? 0 : strlen(hex);

	if (digits % 2 != 0 || digits != strspn(hex == NULL ? "" : hex, "0123456789abcdefABCDEF"))
		return "the value is not hexadecimal";
	if (digits / 2 > MAX_VALUE)
		return "the value is too long";
	for (size_t i = 0; i < digits / 2; i++) {
		const char byte[] = {hex[2 * i], hex[2 * i + 1], '\0'};

		rule->value[i] = (CK_BYTE)strtoul(byte, NULL, 16);
	}
	rule->length = digits / 2;
	return NULL;
}

static const char *parse_token_flags(struct rules *rules, char **rest)
{
	char *flags = word(rest);

	if (flags == NULL)
		return "flags are missing";
	for (; flags != NULL; flags = word(rest)) {
		unsigned long value;

		if ((*flags != '+' && *flags != '-') || !number(flags + 1, &value))
			return "not flags to set or to clear";
		if (*flags == '+')
			rules->flags_set |= value;
		else
			rules->flags_cleared |= value;
	}
	return NULL;
}

static const char *parse_hide(struct rules *rules, char **rest)
{
	CK_OBJECT_CLASS class;
	const char *wrong = parse_class(rest, &class);

	if (wrong == NULL)
		rules->hidden_classes[class] = true;
	return wrong;
}

static const char *parse_attribute(struct rules *rules, char **rest, bool hidden)
{
	struct attribute_rule *rule = &rules->attributes[rules->attribute_count];
	const char *wrong;

	if (rules->attribute_count == MAX_RULES)
		return too_many;
	wrong = parse_class(rest, &rule->class);
	if (wrong != NULL)
		return wrong;
	if (!number(word(rest), &rule->type))
		return "not the number of an attribute";
	rule->hidden = hidden;
	if (!hidden)
		wrong = parse_value(word(rest), rule);
	if (wrong == NULL)
		rules->attribute_count++;
	return wrong;
}

static const char *parse_hide_attribute(struct rules *rules, char **rest)
{
	return parse_attribute(rules, rest, true);
}

static const char *parse_set_attribute(struct rules *rules, char **rest)
{
	return parse_attribute(rules, rest, false);
}

static const char *parse_birth_attribute(struct rules *rules, char **rest)
{
	const char *wrong = parse_attribute(rules, rest, false);

	if (wrong == NULL)
		rules->attributes[rules->attribute_count - 1].at_birth = true;
	return wrong;
}

static const char *parse_fail_attribute(struct rules *rules, char **rest)
{
	struct attribute_rule *rule = &rules->attributes[rules->attribute_count];
	const char *wrong = parse_attribute(rules, rest, true);

	if (wrong != NULL)
		return wrong;
	rule->hidden = false;
	return number(word(rest), &rule->rv) && rule->rv != CKR_OK ? NULL : "not the return value of a failure";
}

static const char *parse_ec_point(struct rules *rules, char **rest)
{
	const char *form = word(rest);

	if (form == NULL || strcmp(form, "raw") != 0)
		return "not a form of CKA_EC_POINT: raw";
	rules->ec_point_raw = true;
	return NULL;
}

static const char *parse_mechanisms(struct rules *rules, char **rest)
{
	char *list = word(rest), *state = NULL;

	if (list == NULL)
		return "mechanisms are missing";
	for (char *item = strtok_r(list, ",", &state); item != NULL; item = strtok_r(NULL, ",", &state)) {
		if (rules->mechanism_count == MAX_MECHANISMS)
			return "too many mechanisms";
		if (!number(item, &rules->mechanisms[rules->mechanism_count++]))
			return "not the number of a mechanism";
	}
	return rules->mechanism_count == 0 ? "mechanisms are missing" : NULL;
}

static const char *parse_denied(struct rules *rules, char **rest, bool at_sign)
{
	struct denied_mechanism *denied = &rules->denied[rules->denied_count];
	const char *rv;

	if (rules->denied_count == MAX_RULES)
		return too_many;
	if (!number(word(rest), &denied->type))
		return "not the number of a mechanism";
	rv = word(rest);
	denied->rv = CKR_MECHANISM_INVALID;
	if ((rv != NULL || at_sign) && !number(rv, &denied->rv))
		return "not a return value";
	denied->at_sign = at_sign;
	rules->denied_count++;
	return NULL;
}

static const char *parse_deny_mechanism(struct rules *rules, char **rest)
{
	return parse_denied(rules, rest, false);
}

static const char *parse_deny_at_sign(struct rules *rules, char **rest)
{
	return parse_denied(rules, rest, true);
}

static const char *parse_pss_hash(struct rules *rules, char **rest)
{
	return number(word(rest), &rules->pss_hash) && rules->pss_hash != 0 ? NULL : "not the number of a hash";
}

static const char *parse_always_authenticate(struct rules *rules, char **rest)
{
	struct attribute_rule *rule = &rules->attributes[rules->attribute_count];

	if (rules->attribute_count == MAX_RULES)
		return too_many;
	*rule = (struct attribute_rule){
		.class = CKO_PRIVATE_KEY, .type = CKA_ALWAYS_AUTHENTICATE, .value = {CK_TRUE}, .length = 1};
	rules->attribute_count++;
	rules->always_authenticate = true;
	return parse_text(rest, rules->context_pin);
}

static const char *parse_pin_pad(struct rules *rules, char **rest)
{
	rules->pin_pad = true;
	return parse_text(rest, rules->pin_pad_pin);
}

static const char *parse_no_login(struct rules *rules, char **rest)
{
	rules->no_login = true;
	rules->flags_cleared |= CKF_LOGIN_REQUIRED;
	return parse_text(rest, rules->no_login_pin);
}

static const char *parse_user_type(struct rules *rules, char **rest)
{
	rules->user_type_given = true;
	return number(word(rest), &rules->user_type) ? NULL : "not a user type";
}

static const char *parse_count(char **rest, unsigned long *count)
{
	return number(word(rest), count) && *count > 0 ? NULL : "not a number above 0";
}

static const char *parse_max_sessions(struct rules *rules, char **rest)
{
	return parse_count(rest, &rules->max_sessions);
}

static const char *parse_states_sessions(struct rules *rules, char **rest)
{
	return parse_count(rest, &rules->states_sessions);
}

static const char *parse_delay_calls(struct rules *rules, char **rest)
{
	return parse_count(rest, &rules->delay_calls);
}

static const char *parse_sessions_die(struct rules *rules, char **rest)
{
	return parse_count(rest, &rules->sessions_die);
}

static const char *parse_read_write_only(struct rules *rules, char **rest)
{
	const char *rv = word(rest);

	rules->read_write_only = CKR_FUNCTION_FAILED;
	if (rv != NULL && (!number(rv, &rules->read_write_only) || rules->read_write_only == CKR_OK))
		return "not the return value of a failure";
	return NULL;
}

static const char *parse_need_init_args(struct rules *rules, char **rest)
{
	rules->need_init_args = true;
	return parse_text(rest, rules->init_args);
}

// forms are all the rules but those on calls, which are below. A form without a
// parser has no arguments and sets its flag.
static const struct form {
	const char *name;
	const char *arguments;
	const char *(*parse)(struct rules *rules, char **rest);
	size_t flag; // offset in struct rules
	bool again;  // may be given more than once
} forms[] = {
#define FLAG(name, field) {name, "", NULL, offsetof(struct rules, field), false}

	// The token.

	// C_GetTokenInfo sets and clears these flags.
	{"token-flags", "+0x… -0x…", parse_token_flags, 0, true},

	// Sessions with CKF_RW_SESSION get CKR_TOKEN_WRITE_PROTECTED, and
	// C_GetTokenInfo says CKF_WRITE_PROTECTED.
	FLAG("read-only", read_only),

	// Sessions without CKF_RW_SESSION get this return value; without one
	// CKR_FUNCTION_FAILED, as AWS CloudHSM said (OpenSC/libp11#412).
	{"read-write-only", "[0xRV]", parse_read_write_only, 0, false},

	// Each call takes N milliseconds more, as the way to a token that is far away.
	{"delay-calls", "N", parse_delay_calls, 0, false},

	// C_OpenSession says CKR_SESSION_COUNT while the process has N sessions.
	{"max-sessions", "N", parse_max_sessions, 0, false},

	// C_GetTokenInfo says that N sessions are the most.
	{"states-sessions", "N", parse_states_sessions, 0, false},

	// After N calls of C_Sign that asked for a signature, those of all sessions
	// together, all sessions and the login are gone: old handles get
	// CKR_SESSION_HANDLE_INVALID, C_SignInit in new sessions gets
	// CKR_USER_NOT_LOGGED_IN until there was a login. Then it starts over.
	{"sessions-die", "N", parse_sessions_die, 0, false},

	// Functions that take a slot say CKR_SLOT_ID_INVALID before C_GetSlotList.
	FLAG("slot-list-first", slot_list_first),

	// C_Initialize.

	// C_Initialize says CKR_CANT_LOCK to CKF_OS_LOCKING_OK and to mutex
	// functions. Two calls at once are journalled as OVERLAP, and abort.
	FLAG("cant-lock", cant_lock),

	// C_Initialize says CKR_ARGUMENTS_BAD unless pReserved is this text. The
	// module behind does not see it.
	{"need-init-args", "TEXT", parse_need_init_args, 0, false},

	// Logging in.

	// The token has a pin pad: C_GetTokenInfo says
	// CKF_PROTECTED_AUTHENTICATION_PATH, and C_Login without a PIN goes behind
	// with this one.
	{"pin-pad", "PIN", parse_pin_pad, 0, false},

	// The token wants no login, and C_Login fails: all is there from the first
	// session on, as after a login with this PIN behind.
	{"no-login", "PIN", parse_no_login, 0, false},

	// C_Login takes this user type alone, others get CKR_USER_TYPE_INVALID. It
	// goes behind as CKU_USER.
	{"user-type", "0x…", parse_user_type, 0, false},

	// Private keys read CKA_ALWAYS_AUTHENTICATE, and mean it: C_Sign says
	// CKR_USER_NOT_LOGGED_IN unless C_Login with CKU_CONTEXT_SPECIFIC and this
	// PIN came right between C_SignInit and it. Any other call, of any session,
	// undoes that. A C_Sign that only asks for the length changes nothing. A
	// context-specific login in a session that is not signing gets
	// CKR_OPERATION_NOT_INITIALIZED. There is no multi-part signing.
	{"always-authenticate", "PIN", parse_always_authenticate, 0, false},

	// Objects.

	// Objects of a class are never found.
	{"hide", "cert|public|private", parse_hide, 0, true},

	// Nothing is found before a user has logged in.
	FLAG("hide-before-login", hide_before_login),

	// A search by CKA_ID finds nothing.
	FLAG("hide-id-search", hide_id_search),

	// The attribute of these objects gets CKR_ATTRIBUTE_TYPE_INVALID and the
	// length CK_UNAVAILABLE_INFORMATION; those asked for with it are filled in.
	// A search by it does not find them. Of several rules on one attribute the
	// first holds.
	{"hide-attribute", "cert|public|private 0xATTRIBUTE", parse_hide_attribute, 0, true},

	// The attribute of these objects reads as this value, and a search by it
	// goes by that. Numbers are as they lie in memory: CKA_ALLOWED_MECHANISMS
	// is eight bytes a mechanism, the lowest first. Without a value it is empty.
	{"set-attribute", "cert|public|private 0xATTRIBUTE [HEX]", parse_set_attribute, 0, true},

	// As set-attribute, but only in a session in which a key pair was made.
	{"birth-attribute", "cert|public|private 0xATTRIBUTE [HEX]", parse_birth_attribute, 0, true},

	// C_GetAttributeValue says this of each call that asks for the attribute of
	// these objects, and fills nothing in that comes after it. A search by it
	// does not find them.
	{"fail-attribute", "cert|public|private 0xATTRIBUTE 0xRV", parse_fail_attribute, 0, true},

	// CKA_EC_POINT is the bare point, without the OCTET STRING around it.
	{"ec-point", "raw", parse_ec_point, 0, false},

	// Mechanisms.

	// C_GetMechanismList says these. They veto nothing.
	{"mechanisms", "0x…,0x…", parse_mechanisms, 0, false},

	// C_SignInit with the mechanism says CKR_MECHANISM_INVALID, or this.
	{"deny-mechanism", "0xMECHANISM [0xRV]", parse_deny_mechanism, 0, true},

	// C_SignInit with the mechanism passes, and the C_Sign that asks for the
	// signature says this. It leaves the operation active, as some tokens do:
	// the session's next C_SignInit gets CKR_OPERATION_ACTIVE.
	{"deny-at-sign", "0xMECHANISM 0xRV", parse_deny_at_sign, 0, true},

	// C_SignInit with CKM_RSA_PKCS_PSS and another hash than this (CKM_SHA256…)
	// says CKR_MECHANISM_PARAM_INVALID.
	{"pss-hash", "0xHASH", parse_pss_hash, 0, false},

	// CKM_SHA256_RSA_PKCS_PSS, 384 and 512 work, on top of CKM_RSA_PKCS_PSS
	// behind; they are listed. With "deny-mechanism 0xd" the token is one that
	// signs whole messages only, in one part.
	FLAG("message-pss", message_pss),

	// CKM_ECDSA_SHA256, 384 and 512 work, on top of CKM_ECDSA (0x1041) behind.
	FLAG("message-ecdsa", message_ecdsa),

#undef FLAG
};

// Kinds of output, of functions that have one.
enum {
	BUFFER = 1, // bytes, items or values, with a length
	FIXED = 2,  // a structure or a handle
};

// The rules on calls are
//
//	C_Name[#N] [after] ACTION
//	load ACTION
//	unload ACTION
//
// at each call of the function, or only the Nth since the library was loaded;
// before the call goes behind, or after it has come back. load is when the
// library is loaded, unload when it is closed or the process ends with exit().
// (Go's os.Exit runs no destructors.) Several rules on a call act in their order.
static const struct verb {
	const char *name;
	enum action action;
	enum { NONE, OPTIONAL, REQUIRED } argument;
	bool alters; // the answer of a call: there must be one
	unsigned outputs; // kinds of output of which the function must have one; 0: none
} verbs[] = {
	// Return this value. Before the call, it does not go behind.
	{"rv", ACTION_RV, REQUIRED, true, 0},

	// Sleep for ever, and let the whole process ignore SIGTERM and the like.
	{"hang", ACTION_HANG, NONE, false, 0},

	// Write to address 0.
	{"crash", ACTION_CRASH, NONE, false, 0},

	{"abort", ACTION_ABORT, NONE, false, 0},

	// End the process with this status, without destructors.
	{"exit", ACTION_EXIT, REQUIRED, false, 0},

	// Print to file descriptors 1 and 2: a banner, lines of JSON that look like
	// a plugin's answer, control characters, bytes that are not UTF-8, and a
	// line without an end. With a number, that many KiB more: more than 64 fill
	// a pipe that nobody reads.
	{"noise", ACTION_NOISE, OPTIONAL, false, 0},

	// Wait this many milliseconds.
	{"delay", ACTION_DELAY, REQUIRED, false, 0},

	// The next ones are for functions with an output, and always come after the
	// call.

	// Success, and all bits of the output flipped. Of C_GetAttributeValue, each
	// value's. A handle is nobody's then.
	{"garble", ACTION_GARBLE, NONE, true, BUFFER | FIXED},

	// The others are for functions whose output has a length, and may be asked
	// for that alone first.

	// Success, and one byte or one item less. The question for the length is left
	// alone.
	{"short", ACTION_SHORT, NONE, true, BUFFER},

	// Success, and no bytes or no items. The question for the length of bytes is
	// left alone.
	{"empty", ACTION_EMPTY, NONE, true, BUFFER},

	// Success, and this many bytes or items more, as far as their number goes: a
	// caller that believes it reads what is not its own. With #2, a length that
	// grew since it was asked for.
	{"long", ACTION_LONG, REQUIRED, true, BUFFER},

	// Success, and CK_UNAVAILABLE_INFORMATION for the length.
	{"unavailable", ACTION_UNAVAILABLE, NONE, true, BUFFER},
};

static const unsigned outputs[FUNCTION_COUNT] = {
	[FUNCTION_C_GetInfo] = FIXED,
	[FUNCTION_C_GetSlotList] = BUFFER,
	[FUNCTION_C_GetSlotInfo] = FIXED,
	[FUNCTION_C_GetTokenInfo] = FIXED,
	[FUNCTION_C_GetMechanismList] = BUFFER,
	[FUNCTION_C_GetMechanismInfo] = FIXED,
	[FUNCTION_C_OpenSession] = FIXED,
	[FUNCTION_C_GetSessionInfo] = FIXED,
	[FUNCTION_C_GetOperationState] = BUFFER,
	[FUNCTION_C_CreateObject] = FIXED,
	[FUNCTION_C_CopyObject] = FIXED,
	[FUNCTION_C_GetAttributeValue] = BUFFER,
	[FUNCTION_C_FindObjects] = BUFFER,
	[FUNCTION_C_Encrypt] = BUFFER,
	[FUNCTION_C_EncryptUpdate] = BUFFER,
	[FUNCTION_C_EncryptFinal] = BUFFER,
	[FUNCTION_C_Decrypt] = BUFFER,
	[FUNCTION_C_DecryptUpdate] = BUFFER,
	[FUNCTION_C_DecryptFinal] = BUFFER,
	[FUNCTION_C_Digest] = BUFFER,
	[FUNCTION_C_DigestFinal] = BUFFER,
	[FUNCTION_C_Sign] = BUFFER,
	[FUNCTION_C_SignFinal] = BUFFER,
	[FUNCTION_C_SignRecover] = BUFFER,
	[FUNCTION_C_VerifyRecover] = BUFFER,
	[FUNCTION_C_DigestEncryptUpdate] = BUFFER,
	[FUNCTION_C_DecryptDigestUpdate] = BUFFER,
	[FUNCTION_C_SignEncryptUpdate] = BUFFER,
	[FUNCTION_C_DecryptVerifyUpdate] = BUFFER,
	[FUNCTION_C_GenerateKey] = FIXED,
	[FUNCTION_C_GenerateKeyPair] = FIXED,
	[FUNCTION_C_WrapKey] = BUFFER,
	[FUNCTION_C_UnwrapKey] = FIXED,
	[FUNCTION_C_DeriveKey] = FIXED,
};

static bool function_named(const char *name, enum function *function)
{
	for (int i = 0; i < FUNCTION_COUNT; i++) {
		if (strcmp(name, function_names[i]) == 0) {
			*function = (enum function)i;
			return true;
		}
	}
	return false;
}

static const struct verb *verb_named(const char *name)
{
	for (size_t i = 0; name != NULL && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(name, verbs[i].name) == 0)
			return &verbs[i];
	}
	return NULL;
}

static const char *parse_call(struct rules *rules, char *name, char **rest)
{
	struct call_rule rule = {0};
	char *nth = strchr(name, '#');
	const struct verb *verb;
	const char *text;
	bool library;

	if (nth != NULL) {
		*nth++ = '\0';
		if (!number(nth, &rule.nth) || rule.nth == 0)
			return "not the number of a call";
	}
	if (!function_named(name, &rule.function))
		return "no such rule or function";
	library = rule.function == FUNCTION_load || rule.function == FUNCTION_unload;

	text = word(rest);
	if (text != NULL && strcmp(text, "after") == 0) {
		rule.after = true;
		text = word(rest);
	}
	verb = verb_named(text);
	if (verb == NULL)
		return "no such action";
	if (verb->outputs != 0 && (verb->outputs & outputs[rule.function]) == 0)
		return "the function has no such output";
	if (library && (rule.after || verb->alters))
		return "there is no answer to alter";
	rule.action = verb->action;
	rule.after = rule.after || verb->outputs != 0;

	text = verb->argument == NONE ? NULL : word(rest);
	if ((text != NULL || verb->argument == REQUIRED) && !number(text, &rule.argument))
		return "the action needs a number";
	if (rule.action == ACTION_EXIT && rule.argument > 255)
		return "not an exit status";

	if (rules->call_count == MAX_RULES)
		return too_many;
	rules->calls[rules->call_count++] = rule;
	return NULL;
}

// parse_line parses one rule. given says by form which ones there were before.
static const char *parse_line(struct rules *rules, char *line, bool *given)
{
	char *rest = line, *name = word(&rest);
	const struct form *form = NULL;
	const char *wrong = NULL;

	for (size_t i = 0; form == NULL && i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (strcmp(name, forms[i].name) != 0)
			continue;
		form = &forms[i];
		if (given[i] && !form->again)
			return "given twice";
		given[i] = true;
	}
	if (form == NULL)
		wrong = parse_call(rules, name, &rest);
	else if (form->parse != NULL)
		wrong = form->parse(rules, &rest);
	else
		*(bool *)((char *)rules + form->flag) = true;
	if (wrong == NULL && word(&rest) != NULL)
		wrong = "a word too many";
	return wrong;
}

// usage is how the rule on a line should have been written.
static void usage(const char *line, char *text, size_t size)
{
	size_t length = strcspn(line, " \t");

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (strlen(forms[i].name) == length && strncmp(line, forms[i].name, length) == 0) {
			snprintf(text, size, "%s %s", forms[i].name, forms[i].arguments);
			return;
		}
	}
	snprintf(text, size, "C_Name[#N] [after] ACTION, or another rule of rules.c");
}

static bool parse_text_of_rules(struct rules *rules, const char *path, char *text, char *error, size_t size)
{
	bool given[sizeof(forms) / sizeof(forms[0])] = {false};
	char *next;
	int at = 1;

	for (char *line = text; line != NULL; line = next, at++) {
		char original[81], should[128];
		const char *wrong;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		line += strspn(line, " \t");
		if (*line == '\0' || *line == '#')
			continue;
		snprintf(original, sizeof(original), "%s", line);
		wrong = parse_line(rules, line, given);
		if (wrong != NULL) {
			usage(original, should, sizeof(should));
			snprintf(error, size, "%s:%d: \"%s\": %s; the form is: %s", path, at, original, wrong, should);
			return false;
		}
	}
	return true;
}

bool rules_read(struct rules *rules, const char *path, char *error, size_t size)
{
	FILE *file = fopen(path, "re");
	char *text = calloc(1, MAX_FILE + 1);
	size_t length = 0;
	bool ok = false;

	memset(rules, 0, sizeof(*rules));
	if (file == NULL || text == NULL) {
		snprintf(error, size, "%s: %s", path, strerror(errno));
		goto done;
	}
	length = fread(text, 1, MAX_FILE + 1, file);
	if (ferror(file))
		snprintf(error, size, "%s: %s", path, strerror(errno));
	else if (length > MAX_FILE)
		snprintf(error, size, "%s: longer than %d bytes", path, MAX_FILE);
	else if (memchr(text, '\0', length) != NULL)
		snprintf(error, size, "%s: has a NUL byte", path);
	else
		ok = parse_text_of_rules(rules, path, text, error, size);
done:
	// Half of the rules would be other rules.
	if (!ok)
		memset(rules, 0, sizeof(*rules));
	free(text);
	if (file != NULL)
		fclose(file);
	return ok;
}
