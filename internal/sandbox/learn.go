// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/internal/lazyregexp"
)

// Calls are the system calls that Learn reads, as strace's option -e trace= wants
// them. An architecture lacks some.
const Calls = "?open,?openat,?openat2,?creat,?mkdir,?mkdirat,?rmdir,?unlink,?unlinkat,?rename,?renameat,?renameat2," +
	"?link,?linkat,?symlink,?symlinkat,?mknod,?mknodat,?truncate,?connect,?execve,?execveat"

// Learned is what a module was seen doing.
type Learned struct {
	Sandbox
	// Programs are those that it ran, which no sandbox allows.
	Programs []string
}

// Learn reads what strace -f -yy wrote of the process that loaded the module at a
// path, and makes the sandbox in which the module can do the same again. What the
// process did before the module was first opened isn't the module's. What no
// sandbox can allow is left out: files in /proc of the process itself.
func Learn(trace io.Reader, module string) (Learned, error) {
	l := learner{read: map[string]bool{}, listed: map[string]bool{}, written: map[string]bool{}, unfinished: map[string]string{}}
	if file, err := filepath.EvalSymlinks(module); err == nil {
		module = file
	}
	l.module = module
	lines := bufio.NewScanner(trace)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		l.line(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return Learned{}, fmt.Errorf("strace's output can't be read: %w", err)
	}
	if !l.loaded {
		return Learned{}, fmt.Errorf("strace did not see the module %q being opened", module)
	}
	return l.result(), nil
}

// learner is what was seen so far: files that were read, directories that were
// listed, files and directories that were written to.
type learner struct {
	module                string
	loaded                bool
	read, listed, written map[string]bool
	ports                 []uint16
	programs              []string
	unfinished            map[string]string // beginnings of calls that another thread's line interrupts, by thread
}

var (
	traceLine  = lazyregexp.New(`^(\d+) +(.*)$`)
	resumed    = lazyregexp.New(`^<\.\.\. \w+ resumed>(.*)$`)
	calledLine = lazyregexp.New(`^(\w+)\((.*)\) += +(-?\d+)(.*)$`)
	pathOfFile = lazyregexp.New(`^<((?:[^<>\\]|\\.)*)(?:<.*>)?>$`)
	pathWord   = lazyregexp.New(`(?:(?:AT_FDCWD|\d+)<((?:[^<>\\]|\\.)*)>, )?"((?:[^"\\]|\\.)*)"`)
	portOfTCP  = lazyregexp.New(`^\d+<TCP(?:v6)?:.*sin6?_port=htons\((\d+)\)`)
)

func (l *learner) line(text string) {
	fields := traceLine().FindStringSubmatch(text)
	if fields == nil {
		return
	}
	thread, text := fields[1], fields[2]
	if begin, interrupted := strings.CutSuffix(text, " <unfinished ...>"); interrupted {
		l.unfinished[thread] = begin
		return
	}
	if rest := resumed().FindStringSubmatch(text); rest != nil {
		text = l.unfinished[thread] + rest[1]
		delete(l.unfinished, thread)
	}
	call := calledLine().FindStringSubmatch(text)
	if call == nil {
		return
	}
	l.call(call[1], call[2], call[3] != "-1", call[4])
}

func (l *learner) call(name, arguments string, succeeded bool, result string) {
	if name == "connect" { // in progress, or refused for now
		if port := portOfTCP().FindStringSubmatch(arguments); port != nil && l.loaded {
			number, err := strconv.ParseUint(port[1], 10, 16)
			if err == nil && number != 0 && !slices.Contains(l.ports, uint16(number)) {
				l.ports = append(l.ports, uint16(number))
			}
		}
		return
	}
	if !succeeded {
		return
	}
	if strings.HasPrefix(name, "open") || name == "creat" {
		if file := pathOfFile().FindStringSubmatch(result); file != nil {
			l.opened(unquote(file[1]), name, arguments)
		}
		return
	}
	paths := pathWord().FindAllStringSubmatch(arguments, -1)
	switch {
	case !l.loaded || len(paths) == 0:
	case strings.HasPrefix(name, "exec"):
		l.programs = append(l.programs, unquote(paths[0][2]))
	case name == "truncate":
		l.written[absolute(paths[0])] = true
	case strings.HasPrefix(name, "symlink"): // whose first path is a text
		l.written[filepath.Dir(absolute(paths[len(paths)-1]))] = true
	default: // what is made, removed or renamed changes directories
		for _, path := range paths {
			l.written[filepath.Dir(absolute(path))] = true
		}
	}
}

// opened notes a file that was opened: where the kernel got to, links followed.
func (l *learner) opened(path, name, arguments string) {
	l.loaded = l.loaded || path == l.module
	if !l.loaded || !filepath.IsAbs(path) || ofProcess().MatchString(path) {
		return
	}
	flags := arguments
	if at := strings.LastIndex(arguments, `"`); at >= 0 {
		flags = arguments[at:]
	}
	switch {
	case strings.Contains(flags, "O_PATH"):
	case name == "creat" || strings.Contains(flags, "O_CREAT"):
		l.written[filepath.Dir(path)] = true
	case strings.Contains(flags, "O_WRONLY") || strings.Contains(flags, "O_RDWR"):
		l.written[path] = true
	case strings.Contains(flags, "O_DIRECTORY"):
		l.listed[path] = true
	case path != l.module:
		l.read[path] = true
	}
}

// ofProcess matches what is in /proc of one process. Another time it has another
// name.
var ofProcess = lazyregexp.New(`^/proc/(\d+|self|thread-self)(/|$)`)

// absolute returns a path from the directory that the call names. Where it names
// none, that is the one in which this process is, as its children are.
func absolute(word []string) string {
	path := unquote(word[2])
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	directory := unquote(word[1])
	if directory == "" {
		directory, _ = os.Getwd() // fails where there is none; then the path stays relative, and is left out
	}
	return filepath.Join(directory, path)
}

// unquote undoes strace's quoting, which is C's.
func unquote(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch c := text[i]; {
		case c >= '0' && c <= '7':
			end := i + 1
			for end < len(text) && end < i+3 && text[end] >= '0' && text[end] <= '7' {
				end++
			}
			number, _ := strconv.ParseUint(text[i:end], 8, 16) // digits
			b.WriteByte(byte(number))
			i = end - 1
		case strings.IndexByte("abtnvfr", c) >= 0:
			b.WriteByte("\a\b\t\n\v\f\r"[strings.IndexByte("abtnvfr", c)])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// result makes the lists as short as they can be. A directory of which several
// files were read stands for them, unless it is one that holds all sorts of things.
func (l *learner) result() Learned {
	var learned Learned
	learned.Write = shortest(l.written, baseWritten)
	read := l.listed
	count := map[string]int{}
	for path := range l.read {
		count[filepath.Dir(path)]++
	}
	for path := range l.read {
		if directory := filepath.Dir(path); count[directory] > 2 && !isShared(directory) {
			read[directory] = true
		} else {
			read[path] = true
		}
	}
	learned.Read = shortest(read, slices.Concat(base, baseWritten, learned.Write, []string{l.module}))
	slices.Sort(l.ports)
	learned.Connect = l.ports
	slices.Sort(l.programs)
	learned.Programs = slices.Compact(l.programs)
	return learned
}

// isShared reports whether a directory holds what has nothing to do with each
// other, and secrets among it: those at the top, and home directories.
func isShared(directory string) bool {
	home, _ := os.UserHomeDir() // "" is no directory
	return strings.Count(directory, "/") < 2 || directory == home || strings.HasPrefix(directory, "/home/") && strings.Count(directory, "/") < 3
}

// shortest sorts paths and leaves out what the others, or those that are allowed,
// cover, and what is gone by now.
func shortest(paths map[string]bool, allowed []string) []string {
	var list []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if _, err := os.Stat(path); err != nil || !filepath.IsAbs(path) || covers(allowed, path) || covers(list, path) {
			continue
		}
		list = append(list, path)
	}
	return list
}
