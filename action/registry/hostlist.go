// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net"
	"slices"
	"strings"
)

// hostList are hosts as a user names them: "registry.internal:5000", or without a port,
// which stands for all its ports. Upper and lower case are the same.
type hostList []string

// has reports whether a host, perhaps with a port, is in the list.
func (l hostList) has(host string) bool {
	return slices.ContainsFunc(l, func(named string) bool {
		return strings.EqualFold(named, host) || strings.EqualFold(strings.Trim(named, "[]"), hostname(host))
	})
}

// hostname is a host without its port, and without the brackets of an address.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}
