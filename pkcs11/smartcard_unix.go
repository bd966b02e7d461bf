// SPDX-License-Identifier: Apache-2.0

//go:build unix

package pkcs11

/*
#include <dlfcn.h>
#include <stddef.h>

enum { SCOPE_SYSTEM = 2, NO_SERVICE = 0x8010001D }; // SCARD_SCOPE_SYSTEM, SCARD_E_NO_SERVICE

// smartCardServiceIsAway asks the client library of PC/SC, if somebody in this process
// has loaded it, for its service.
static int smartCardServiceIsAway(void)
{
	void *library = dlopen("libpcsclite.so.1", RTLD_LAZY | RTLD_NOLOAD);
	long (*establish)(unsigned long, const void *, const void *, long *);
	long (*release)(long);
	long context = 0;
	unsigned int result = 0;

	if (library == NULL)
		return 0;
	establish = (long (*)(unsigned long, const void *, const void *, long *))dlsym(library, "SCardEstablishContext");
	release = (long (*)(long))dlsym(library, "SCardReleaseContext");
	if (establish != NULL && release != NULL) {
		result = (unsigned int)establish(SCOPE_SYSTEM, NULL, NULL, &context);
		if (result == 0)
			release(context);
	}
	dlclose(library);
	return result == NO_SERVICE;
}
*/
import "C"

// smartCardServiceIsAway reports that the module in this process reaches its
// tokens through PC/SC, and that the service behind that does not run. Modules
// say no more than that they have no slot then, or CKR_DEVICE_ERROR.
func smartCardServiceIsAway() bool { return C.smartCardServiceIsAway() != 0 }
