// SPDX-License-Identifier: Apache-2.0

// Package host opens keys of package pkcs11 with the vendor's library in a
// child process, the module host.
//
// A PKCS#11 module is C code from a vendor: it prints on stdout, hangs when
// its network HSM is away, crashes when it is finalized. Here it does so in a
// process of its own. The parent keeps the deadline and the errors; the child,
// the same executable started again, keeps the library, the session and the
// login. They speak over two pipes that only they have; what the library writes
// on its standard streams goes into a third and never further than the log.
//
// Start with [Open], or with [Load] to look at what tokens hold and to add to
// it. An executable that uses it begins its main with [Main],
// which is the child.
package host
