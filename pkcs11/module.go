// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/miekg/pkcs11"
)

// Module is a loaded and initialized PKCS#11 module, a vendor's shared library.
// It may be used from several goroutines; a module that can't lock gets its
// calls one after the other. A process should load a module once: C_Initialize
// and C_Finalize concern the whole process.
type Module struct {
	calls    *calls
	path     string
	initArgs string
	// initialized is false where it is not this package's to finalize: somebody
	// else in this process had initialized it before.
	initialized bool
}

// Options are what Load takes besides the path. The zero value is right for
// most modules.
type Options struct {
	// InitArgs is handed to C_Initialize as pReserved, as NSS wants it, such as
	// "configdir='sql:/etc/pki/nssdb'". Empty: NULL.
	InitArgs string
	// Trace is told of every call, if it isn't nil.
	Trace Trace
}

// Load loads the module at an absolute path, such as
// /usr/lib/softhsm/libsofthsm2.so, and initializes it. It asks the module to
// use the operating system's locks; one that answers CKR_CANT_LOCK is used
// without, one call at a time. An error of KindModule says why the file is not
// a module that can be loaded here, one of KindUnsafe who else could have put it
// there. Close the module when done.
func Load(path string, o Options) (*Module, error) {
	if err := CheckModule(path); err != nil {
		return nil, err
	}
	c := &calls{trace: o.Trace}
	done := c.begin("dlopen")
	library, functions, err := load(path)
	if err != nil {
		done(pkcs11.CKR_OK, nil)
		kind := KindModule
		if errors.Is(err, syscall.ENOMEM) {
			kind = KindResources
		}
		return nil, notLoaded(kind, path, err)
	}
	c.module = newCheckedContext(library, functions)
	done(pkcs11.CKR_OK, nil)
	m := &Module{calls: c, path: path, initArgs: o.InitArgs}
	if err := m.initialize(); err != nil {
		// It stays loaded: unloading what is in an unknown state helps nobody.
		return nil, failed(err, "the PKCS#11 module %q can't be initialized", path)
	}
	return m, nil
}

// initialize follows the order of the specification, section 5.4: with the
// system's locks, else without and from one thread.
func (m *Module) initialize() error {
	reserved, free := cString(m.initArgs)
	defer free()
	err := m.calls.initialize(pkcs11.InitializeWithFlags(pkcs11.CKF_OS_LOCKING_OK), pkcs11.InitializeWithReserved(reserved))
	if _, rv := returned(err); rv == pkcs11.CKR_CANT_LOCK {
		m.calls.serial = new(sync.Mutex)
		err = m.calls.initialize(pkcs11.InitializeWithFlags(0), pkcs11.InitializeWithReserved(reserved))
	}
	if _, rv := returned(err); rv == pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED {
		return nil
	}
	m.initialized = err == nil
	return err
}

// restart finalizes the module and initializes it again, if it isn't somebody
// else's. All sessions end.
func (m *Module) restart() error {
	if !m.initialized {
		return nil
	}
	if err := m.calls.finalize(); err != nil {
		return err
	}
	m.initialized = false
	return m.initialize()
}

// ModuleInfo is what a module says of itself (C_GetInfo).
type ModuleInfo struct {
	Manufacturer string
	Description  string
	Version      string // of the library, such as 2.6
}

// Info asks the module what it is.
func (m *Module) Info() (ModuleInfo, error) {
	info, err := m.calls.info()
	if err != nil {
		return ModuleInfo{}, failed(err, "the PKCS#11 module %q doesn't describe itself", m.path)
	}
	return ModuleInfo{
		Manufacturer: trimPadding(info.ManufacturerID),
		Description:  trimPadding(info.LibraryDescription),
		Version:      fmt.Sprintf("%d.%d", info.LibraryVersion.Major, info.LibraryVersion.Minor),
	}, nil
}

// Close finalizes and unloads the module. Keys of it must be closed before; what
// keys that could not be opened have left open is closed here.
func (m *Module) Close() error {
	defer m.calls.destroy()
	var errs []error
	for _, cleanup := range m.calls.later {
		errs = append(errs, cleanup())
	}
	if m.initialized {
		if err := m.calls.finalize(); err != nil {
			errs = append(errs, failed(err, "the PKCS#11 module %q can't be finalized", m.path))
		}
	}
	return errors.Join(errs...)
}
