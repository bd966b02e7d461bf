// SPDX-License-Identifier: Apache-2.0

// What is done before Go's runtime starts, while the process has one thread: to
// close it to others, and in a module host to set the walls. Of threads that are
// there already, Go can set neither for all.

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "early_linux.h"

#ifndef PR_SET_NO_NEW_PRIVS
#define PR_SET_NO_NEW_PRIVS 38
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif

extern char **environ;

// The block of memory that /proc/self/environ shows. The C library and Go may move
// the pointers to it, but not the bytes.
static char *block, *block_end;

static void remember_block(void)
{
	for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
		char *end = *variable + strlen(*variable) + 1;

		if (block == NULL || *variable < block)
			block = *variable;
		if (end > block_end)
			block_end = end;
	}
}

void early_erase(const char *name)
{
	size_t length = strlen(name);

	for (char *variable = block; variable < block_end; variable += strlen(variable) + 1) {
		if (strncmp(variable, name, length) == 0 && variable[length] == '=') {
			char *value = variable + length + 1;

			// Its end stays where it is for this loop: it goes over the zeros.
			memset(value, 0, strlen(value));
		}
	}
}

static void give_up(const char *what)
{
	const char *why = strerror(errno);

	// The parent has it in the module log. The exit status says it, too.
	if (write(STDERR_FILENO, what, strlen(what)) < 0 || write(STDERR_FILENO, why, strlen(why)) < 0)
		_exit(EARLY_EXIT_NO_WALLS);
	_exit(EARLY_EXIT_NO_WALLS);
}

// The walls that are set. They are noted here for Go, which has the arguments from
// elsewhere and compares.
static int no_new_privs_set, sandbox_set, traced_set;

int early_is_set(const char *wall)
{
	return (no_new_privs_set && strcmp(wall, EARLY_NO_NEW_PRIVS) == 0) ||
	       (sandbox_set && strcmp(wall, EARLY_SANDBOX) == 0) || (traced_set && strcmp(wall, EARLY_TRACED) == 0);
}

// set_walls does what the second argument of a module host says.
static void set_walls(const char *walls)
{
	if (strstr(walls, EARLY_TRACED) != NULL) {
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		traced_set = 1;
	}
	if (strstr(walls, EARLY_NO_NEW_PRIVS) != NULL) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
			give_up("no_new_privs can't be set: ");
		no_new_privs_set = 1;
	}
	if (strstr(walls, EARLY_SANDBOX) != NULL) {
		if (syscall(SYS_landlock_restrict_self, EARLY_RULESET, 0) != 0)
			give_up("the sandbox can't be set: ");
		close(EARLY_RULESET);
		sandbox_set = 1;
	}
}

__attribute__((constructor)) static void early(void)
{
	// Processes of the same user can't read the memory any more, nor the environment
	// (proc(5)). It also does what RLIMIT_CORE does not: where core dumps are piped
	// to a program, as systemd and Ubuntu do it, Linux does not look at the limit
	// (core(5)).
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	remember_block();

	// Not every C library hands the arguments to a constructor. Where they can't be
	// read, or not all of them, walls are missing, which Go notices (checkWalls).
	char line[4096];
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	if (length <= 0)
		return;
	line[length] = '\0';
	const char *marker = line + strlen(line) + 1;
	if (marker < line + length && strcmp(marker, EARLY_MARKER) == 0) {
		const char *walls = marker + strlen(marker) + 1;
		if (walls < line + length)
			set_walls(walls);
	}
}
