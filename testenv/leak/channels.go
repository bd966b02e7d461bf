// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"bytes"
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
)

// Channel is a way that a secret may take.
type Channel struct {
	Name string
	Why  string
	is   func(Leak) bool
}

// HostArgument is the argument of a module host, by which it is known.
const HostArgument = "module-host"

// channels are all the ways that a secret may take when the plugin or the action
// runs. What takes another one has leaked.
var channels = []Channel{
	{
		"environment", "the user put it there; notation hands its own on to the plugin",
		func(l Leak) bool {
			return strings.HasPrefix(l.Place, "environment ") && !l.Process.IsHost() &&
				(l.Process.Parent == nil || l.Process.Parent.Parent == nil && l.Process.Parent.is("notation"))
		},
	},
	{
		"pipe", "the module host needs the PIN; both ends are inherited, and nobody else has them",
		func(l Leak) bool {
			return l.Call == "write" && strings.HasPrefix(l.Place, "pipe:") && !l.Process.IsHost() && l.Form == "as it is" && isPINFrame(l.Data)
		},
	},
	{
		"mask", "this command has the runner put *** for it in the log, and shows nothing itself",
		func(l Leak) bool {
			return l.Call == "write" && l.Process.Parent == nil && bytes.HasPrefix(l.Data, []byte("::add-mask::")) && bytes.Count(l.Data, []byte("\n")) <= 2 &&
				bytes.Count(l.Data, []byte("\n")) == bytes.Count(l.Data, []byte("::add-mask::"))
		},
	},
	{
		"registry", "the registry asks for it, by Basic authentication",
		func(l Leak) bool {
			_, header, ok := bytes.Cut(l.Data, []byte("\r\nAuthorization: Basic "))
			value, _, _ := bytes.Cut(header, []byte("\r\n"))
			return ok && l.Form == "base64" && strings.HasPrefix(l.Place, "TCP:") && bytes.Count(l.Data, []byte("Authorization")) == 1 && len(value) < 256
		},
	},
	{
		"helper", "the credential helper that Docker's configuration names answers with it",
		func(l Leak) bool {
			return l.Call == "write" && strings.HasPrefix(l.Place, "pipe:") && l.Process.Parent != nil && strings.Contains(strings.Join(l.Process.Arguments, " "), "docker-credential-")
		},
	},
	{
		"job", "credential helpers and other plugins may log in with the job's own tokens",
		func(l Leak) bool {
			return (l.Place == "environment GITHUB_TOKEN" || l.Place == "environment ACTIONS_ID_TOKEN_REQUEST_TOKEN") && l.Process.Parent != nil &&
				(l.Process.is("docker-credential-leaktest") || l.Process.is("notation-other"))
		},
	},
}

// IsHost reports whether it is a module host.
func (p *Process) IsHost() bool { return len(p.Arguments) == 3 && p.Arguments[1] == HostArgument }

func (p *Process) is(executable string) bool {
	return len(p.Arguments) > 0 && filepath.Base(p.Arguments[0]) == executable
}

// isPINFrame reports whether the data are one frame of the module host's protocol,
// with a PIN in it.
func isPINFrame(data []byte) bool {
	return len(data) > 5 && data[4] == 'p' && binary.BigEndian.Uint32(data) == uint32(len(data)-4)
}

// Sort returns the names of the channels that secrets took, and the leaks: what
// took no channel.
func (r Result) Sort() (taken []string, leaks []Leak) {
	for _, l := range r.Leaks {
		i := slices.IndexFunc(channels, func(c Channel) bool { return c.is(l) })
		if i < 0 {
			leaks = append(leaks, l)
		} else if name := channels[i].Name; !slices.Contains(taken, name) {
			taken = append(taken, name)
		}
	}
	slices.Sort(taken)
	return taken, leaks
}

// Unguarded returns the processes of an executable, by its name, that have not
// closed themselves to others.
func (r Result) Unguarded(executable string) []*Process {
	var open []*Process
	for _, p := range r.Processes {
		if p.is(executable) && !(p.Undumpable && p.NoCore) {
			open = append(open, p)
		}
	}
	return open
}
