// SPDX-License-Identifier: Apache-2.0

// Loading, C_Initialize, C_Finalize, unloading.
//
// The module takes three variables from the environment, when it is loaded:
//
//	FAULTS_MODULE   path of the PKCS#11 module behind
//	FAULTS_RULES    path of a file of rules, see rules.c; without it none
//	FAULTS_JOURNAL  path of an existing file, see journal.h; without it none

#include "lifecycle.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calls.h"
#include "token.h"

struct rules rules;
CK_FUNCTION_LIST *behind;

static char module_path[PATH_MAX];
static char rules_error[1024];

__attribute__((constructor)) static void load(void)
{
	const char *module_behind = getenv("FAULTS_MODULE");
	const char *rules_path = getenv("FAULTS_RULES");
	struct call call;

	journal_open(getenv("FAULTS_JOURNAL"));
	if (module_behind != NULL && strlen(module_behind) < sizeof(module_path))
		strcpy(module_path, module_behind);
	if (rules_path != NULL)
		rules_read(&rules, rules_path, rules_error, sizeof(rules_error));
	call_enter(&call, FUNCTION_load, "%s", "");
	call_leave(&call, NOTHING);
}

__attribute__((destructor)) static void unload(void)
{
	struct call call;

	call_enter(&call, FUNCTION_unload, "%s", "");
	call_leave(&call, NOTHING);
}

CK_RV get_function_list(CK_FUNCTION_LIST **list)
{
	static CK_FUNCTION_LIST functions = {
		.version = {2, 40},
#define CK_PKCS11_FUNCTION_INFO(name) .name = name,
#include <pkcs11f.h>
#undef CK_PKCS11_FUNCTION_INFO
	};

	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	*list = &functions;
	return CKR_OK;
}

// complain says what keeps the module from working, where a test that looks for
// another failure can't miss it.
static CK_RV complain(const char *label, const char *why)
{
	journal_write("%s %s", label, why);
	dprintf(STDERR_FILENO, "faults: %s\n", why);
	return CKR_GENERAL_ERROR;
}

static bool has_all_functions(const CK_FUNCTION_LIST *list)
{
#define CK_PKCS11_FUNCTION_INFO(name) \
	if (list->name == NULL)       \
		return false;
#include <pkcs11f.h>
#undef CK_PKCS11_FUNCTION_INFO
	return true;
}

// load_behind loads the module behind. It stays loaded when this one goes:
// unloading is a fault to be asked for, not to be met by chance.
static CK_RV load_behind(void)
{
	CK_FUNCTION_LIST *list = NULL;
	CK_C_GetFunctionList get;
	void *library;

	if (module_path[0] == '\0')
		return complain("BAD-MODULE", "FAULTS_MODULE is not set, or too long");
	library = dlopen(module_path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return complain("BAD-MODULE", dlerror());
	*(void **)&get = dlsym(library, "C_GetFunctionList"); // ISO C has no cast for it
	if (get == NULL || get == C_GetFunctionList || get(&list) != CKR_OK || list == NULL ||
	    !has_all_functions(list))
		return complain("BAD-MODULE", "FAULTS_MODULE is no PKCS#11 module to stand in front of");
	behind = list;
	return CKR_OK;
}

static CK_RV load_behind_once(void)
{
	static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
	CK_RV rv = CKR_OK;

	pthread_mutex_lock(&once);
	if (behind == NULL)
		rv = load_behind();
	pthread_mutex_unlock(&once);
	return rv;
}

CK_RV initialize(const CK_C_INITIALIZE_ARGS *args)
{
	CK_C_INITIALIZE_ARGS changed;
	CK_RV rv;

	if (rules_error[0] != '\0')
		return complain("BAD-RULES", rules_error);
	rv = load_behind_once();
	if (rv != CKR_OK)
		return rv;
	if (rules.cant_lock && args != NULL &&
	    ((args->flags & CKF_OS_LOCKING_OK) != 0 || args->CreateMutex != NULL))
		return CKR_CANT_LOCK;
	if (rules.need_init_args) {
		if (args == NULL || args->pReserved == NULL || strcmp(args->pReserved, rules.init_args) != 0)
			return CKR_ARGUMENTS_BAD;
		changed = *args;
		changed.pReserved = NULL;
		args = &changed;
	}
	return behind->C_Initialize((void *)args);
}

CK_RV finalize(void *reserved)
{
	CK_RV rv = behind->C_Finalize(reserved);

	if (rv == CKR_OK) {
		sessions_reset();
		slots_reset();
	}
	return rv;
}
