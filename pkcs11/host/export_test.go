// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"time"
)

// CloseUntil has the module waited for until ctx ends when it is closed, instead
// of some seconds.
func (c *Config) CloseUntil(ctx context.Context) {
	c.closing = func(time.Time) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }
}
