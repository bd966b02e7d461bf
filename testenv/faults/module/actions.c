// SPDX-License-Identifier: Apache-2.0

#include "actions.h"
#include "journal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// hang lets nothing but SIGKILL end the process, as a thread does that waits in
// the kernel for a device.
static void hang(void)
{
	static const int polite[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2};

	for (size_t i = 0; i < sizeof(polite) / sizeof(polite[0]); i++)
		signal(polite[i], SIG_IGN);
	journal_write("HANG");
	for (;;)
		pause();
}

static void crash(void)
{
	volatile int *volatile nowhere = NULL;

	*nowhere = 1;
}

static void delay(unsigned long milliseconds)
{
	struct timespec until;

	// Against a fixed end: Go interrupts its threads with signals.
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(milliseconds / 1000);
	until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static void print(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; // nobody listens; a library would not care
		text += n;
		length -= (size_t)n;
	}
}

static void noise(unsigned long kib)
{
	static const char text[] =
		"HSM client 4.2: connected to appliance 0\n"
		"{\"errorCode\":\"ERROR\",\"errorMessage\":\"printed by the module\"}\n"
		"{\"keyId\":\"noise\",\"signature\":\"bm9pc2U=\"}\n"
		"\033[31mWARNING\033[0m: \xff\xfe license expires in 3 days\r\n"
		"::error::printed by the module\n"
		"{\"an object\": that ends no";
	char line[1024];

	memset(line, '.', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
		for (unsigned long i = 0; i < kib; i++)
			print(fd, line, sizeof(line));
		print(fd, text, sizeof(text) - 1);
	}
}

void perform(enum action action, unsigned long argument)
{
	switch (action) {
	case ACTION_HANG:
		hang();
		break;
	case ACTION_CRASH:
		crash();
		break;
	case ACTION_ABORT:
		abort();
	case ACTION_EXIT:
		_exit((int)argument);
	case ACTION_NOISE:
		noise(argument);
		break;
	case ACTION_DELAY:
		delay(argument);
		break;
	case ACTION_RV:
	case ACTION_GARBLE:
	case ACTION_SHORT:
	case ACTION_EMPTY:
	case ACTION_LONG:
	case ACTION_UNAVAILABLE:
		break; // these alter an answer
	}
}
