// SPDX-License-Identifier: Apache-2.0

package host

/*
#cgo LDFLAGS: -pthread
#include <pthread.h>

enum { MOST = 64 };

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_at_gate(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return NULL;
}

// start_threads starts threads, which are there at once, and ends them. It
// returns how many could be started.
static int start_threads(int count)
{
	pthread_t threads[MOST];
	int started = 0;

	pthread_mutex_lock(&gate);
	while (started < count && started < MOST && pthread_create(&threads[started], NULL, wait_at_gate, NULL) == 0)
		started++;
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	return started;
}
*/
import "C"

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// What both processes start at most, beside those threads that there are when
// the child is started, and from which limit on there are enough of them anyway.
const (
	neededThreads = 16
	plenty        = 2048
)

// checkThreads checks that there is room for the threads of both processes. The Go runtime aborts a process that can't start one, with a report on standard
// error, where the parent has a protocol. It is tried only where a limit is low:
// it takes longer than all else that the parent does.
func checkThreads() error {
	if threadLimit() >= plenty || C.start_threads(neededThreads) == neededThreads {
		return nil
	}
	return fmt.Errorf("there is no room for %d more threads: %w", neededThreads, unix.EAGAIN)
}

// threadLimit is the lower one of the user's limit and the container's.
func threadLimit() uint64 {
	limit := uint64(math.MaxUint64)
	var user unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &user); err == nil {
		limit = user.Cur
	}
	if text, err := os.ReadFile("/sys/fs/cgroup/pids.max"); err == nil {
		if n, err := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64); err == nil { // else "max"
			limit = min(limit, n)
		}
	}
	return limit
}
