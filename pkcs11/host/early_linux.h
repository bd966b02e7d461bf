// SPDX-License-Identifier: Apache-2.0

// What a parent and early_linux.c agree on.

#define EARLY_MARKER "module-host"       // the first argument of a module host
#define EARLY_NO_NEW_PRIVS "no-new-privs" // of these the second has some
#define EARLY_SANDBOX "sandbox"
#define EARLY_TRACED "traced"
#define EARLY_RULESET 6        // the file in which a parent hands on a landlock ruleset
#define EARLY_EXIT_NO_WALLS 71 // EX_OSERR

// early_erase overwrites the values of a variable in the environment that the
// process was started with.
void early_erase(const char *name);

// early_is_set returns whether a wall, one of the words, was set in this process.
int early_is_set(const char *wall);
