// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"syscall"

	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// openLog opens the debug log, which ends with the process. It has no secret.
func openLog(path string) (*slog.Logger, error) {
	if path == "" {
		return nil, nil
	}
	f, err := openForAppending(path)
	if err != nil {
		return nil, &pkcs11.Error{Kind: pkcs11.KindConfig, Message: fmt.Sprintf("the debug log (NOTATION_PKCS11_LOG) can't be opened: %v", err)}
	}
	return newLogger(f), nil
}

// moduleLogTitle is the first line of a module log.
const moduleLogTitle = "# What a PKCS#11 module printed. It may hold the PIN, in any form: look through it before you send it to anybody.\n"

// openModuleLog opens the log of what the module prints. A file that is there must
// be such a log, and closed to other users.
func openModuleLog(path string) (*slog.Logger, error) {
	if path == "" {
		return nil, nil
	}
	f, err := openForAppending(path)
	if err == nil {
		if err = entitle(f); err != nil {
			f.Close()
		}
	}
	if err != nil {
		return nil, &pkcs11.Error{Kind: pkcs11.KindConfig, Message: fmt.Sprintf("the module log (NOTATION_PKCS11_MODULE_LOG) can't be opened: %v", err)}
	}
	return newLogger(f), nil
}

// entitle writes the first line, or finds it.
func entitle(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	const ofOthers = 0o077
	if runtime.GOOS != "windows" && info.Mode().Perm()&ofOthers != 0 {
		return fmt.Errorf("%[1]s is open to other users; name a new file, or run: chmod 600 %[1]q", f.Name())
	}
	if info.Size() == 0 {
		_, err := f.WriteString(moduleLogTitle)
		return err
	}
	first := make([]byte, len(moduleLogTitle))
	if n, err := f.ReadAt(first, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	} else if string(first[:n]) != moduleLogTitle {
		return fmt.Errorf("%s is there and is no module log; name a new file", f.Name())
	}
	return nil
}

// openForAppending opens a regular file, and makes it. A pipe could block for ever,
// and a stream of the protocol would be spoilt. A file that is there belongs to this
// user, or to root: whoever made it could have it open.
func openForAppending(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := trustedfile.CheckOpen(f, trustedfile.Log); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s %w", path, err)
	}
	return f, nil
}

func newLogger(f *os.File) *slog.Logger {
	log := slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return log.With("process", os.Getpid())
}
