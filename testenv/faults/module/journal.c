// SPDX-License-Identifier: Apache-2.0

#include "journal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[PATH_MAX];

static void fail(void)
{
	// A test would take a line that is missing for a call not made.
	dprintf(STDERR_FILENO, "faults: journal %s: %s\n", path, strerror(errno));
	abort();
}

void journal_open(const char *at)
{
	if (at == NULL)
		return;
	if (strlen(at) >= sizeof(path)) {
		errno = ENAMETOOLONG;
		fail();
	}
	strcpy(path, at);
}

void journal_write(const char *format, ...)
{
	char line[1024];
	size_t length;
	va_list arguments;
	int file;

	if (path[0] == '\0')
		return;
	length = (size_t)snprintf(line, sizeof(line), "%ld %ld ", (long)getpid(), (long)gettid());
	va_start(arguments, format);
	vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	va_end(arguments);
	length = strlen(line);
	line[length++] = '\n';

	// Opened for each line: a program that counts its open files, or closes
	// those it does not know, is none the wiser.
	file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (file < 0 || write(file, line, length) != (ssize_t)length)
		fail();
	close(file);
}

static void append(struct text *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(struct text *to, const char *format, ...)
{
	size_t length = strlen(to->text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(to->text + length, sizeof(to->text) - length, format, arguments);
	va_end(arguments);
}

// append_quoted escapes what would end the quotes, the line, or the detail.
static void append_quoted(struct text *to, const char *string)
{
	append(to, "\"");
	for (; *string != '\0'; string++) {
		unsigned char c = (unsigned char)*string;

		if (isprint(c) && c != '"' && c != '\\' && c != '>')
			append(to, "%c", c);
		else
			append(to, "\\x%02x", c);
	}
	append(to, "\"");
}

struct text text_of_init_args(const CK_C_INITIALIZE_ARGS *args)
{
	struct text text = {""};

	if (args == NULL) {
		append(&text, "args=NULL");
		return text;
	}
	append(&text, "flags=0x%lx", args->flags);
	if (args->CreateMutex != NULL)
		append(&text, " mutexes");
	if (args->pReserved != NULL) {
		append(&text, " reserved=");
		append_quoted(&text, args->pReserved);
	}
	return text;
}

struct text text_of_pin(const CK_UTF8CHAR *pin, CK_ULONG length)
{
	struct text text = {""};

	if (pin == NULL)
		append(&text, "pin=NULL");
	else
		append(&text, "pin-length=%lu", length);
	return text;
}

static bool takes_pss_parameters(CK_MECHANISM_TYPE type)
{
	return type == CKM_RSA_PKCS_PSS || type == CKM_SHA1_RSA_PKCS_PSS || type == CKM_SHA224_RSA_PKCS_PSS ||
	       type == CKM_SHA256_RSA_PKCS_PSS || type == CKM_SHA384_RSA_PKCS_PSS ||
	       type == CKM_SHA512_RSA_PKCS_PSS;
}

struct text text_of_mechanism(const CK_MECHANISM *mechanism)
{
	struct text text = {""};

	if (mechanism == NULL) {
		append(&text, "mechanism=NULL");
		return text;
	}
	append(&text, "mechanism=0x%lx", mechanism->mechanism);
	if (takes_pss_parameters(mechanism->mechanism) && mechanism->pParameter != NULL &&
	    mechanism->ulParameterLen == sizeof(CK_RSA_PKCS_PSS_PARAMS)) {
		const CK_RSA_PKCS_PSS_PARAMS *pss = mechanism->pParameter;

		append(&text, " hash=0x%lx mgf=0x%lx salt=%lu", pss->hashAlg, pss->mgf, pss->sLen);
	}
	return text;
}

static struct text text_of_attributes(const CK_ATTRIBUTE *template, CK_ULONG count, bool class)
{
	struct text text = {"attributes="};

	for (CK_ULONG i = 0; template != NULL && i < count; i++) {
		append(&text, "%s0x%lx", i == 0 ? "" : ",", template[i].type);
		if (class && template[i].type == CKA_CLASS && template[i].pValue != NULL &&
		    template[i].ulValueLen == sizeof(CK_OBJECT_CLASS)) {
			CK_OBJECT_CLASS value;

			memcpy(&value, template[i].pValue, sizeof(value)); // it may be unaligned
			append(&text, "=0x%lx", value);
		}
	}
	return text;
}

struct text text_of_template(const CK_ATTRIBUTE *template, CK_ULONG count)
{
	return text_of_attributes(template, count, true);
}

struct text text_of_types(const CK_ATTRIBUTE *template, CK_ULONG count)
{
	return text_of_attributes(template, count, false);
}
