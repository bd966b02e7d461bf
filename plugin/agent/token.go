// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// Key is a private key that is open.
type Key interface {
	plugin.AuditedKey
	// Probed reports whether a signature of no meaning was made when it was opened.
	Probed() bool
	// Turn waits until ctx ends for the turn of a signature, which lasts until end is
	// called.
	Turn(ctx context.Context) (end func(), err error)
	// SignInTurn is SignMessage for a caller who has a turn.
	SignInTurn(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error)
}

// Vault opens keys of one token.
type Vault interface {
	// Open opens all keys that were opened before or admitted, in that order, with
	// one login. Closing each of them logs out. Errors are as those of
	// plugin.Opener.
	Open(ctx context.Context, pin pkcs11.PINFunc) ([]Key, error)
	// Admit opens one more key with the login that there is. It is nil, without an
	// error, where the settings select another token or another module.
	Admit(ctx context.Context, s plugin.Settings) (Key, error)
}

// Token is a token whose keys the agent holds. Its methods may be called from
// several goroutines, but for Admit.
type Token struct {
	vault    Vault
	settings plugin.Settings // of its first key, for errors
	keeper   keeper
	note     func(auditlog.Entry) error

	keys     []*held
	toOpen   chan struct{} // taken while it is opened
	mu       sync.Mutex    // of what follows, and of what it says
	current  *opening      // nil: not open
	closings sync.WaitGroup
}

// opening is one time that the token was opened.
type opening struct {
	keys  []Key // below: guarded by the token's mu
	users int   // signatures that are being made
	over  bool  // it is closed when there are none
}

// OpenToken opens the key that the settings select, with the PIN that they name.
// note writes a line of the audit log for a test signature that the opening takes; nil:
// there is no log. Errors are those of a plugin.Opener, and of note.
func OpenToken(ctx context.Context, vault Vault, s plugin.Settings, note func(auditlog.Entry) error) (*Token, error) {
	t := &Token{
		vault: vault, settings: s, keeper: keeper{ask: s.PIN, each: s.AskEachTime},
		note: note, toOpen: make(chan struct{}, 1),
	}
	o, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	t.current = o
	for _, key := range o.keys {
		if err := t.hold(ctx, key); err != nil {
			t.Close()
			return nil, err
		}
	}
	return t, nil
}

// hold takes note of a key that is new, and of its certificates.
func (t *Token) hold(ctx context.Context, key Key) error {
	own, err := key.OwnCertificates(ctx)
	if err != nil {
		return err
	}
	t.keys = append(t.keys, &held{token: t, number: len(t.keys), public: key.Public(), shown: key.Shown(), own: nonNil(own)})
	return nil
}

// Admit opens one more key with the token's login, if the settings select one of
// this token. It must not be called once the token is served.
func (t *Token) Admit(ctx context.Context, s plugin.Settings) (bool, error) {
	key, err := t.vault.Admit(ctx, s)
	if err != nil || key == nil {
		return false, err
	}
	t.current.keys = append(t.current.keys, key)
	if err := t.noteProbes([]Key{key}); err != nil {
		return true, err
	}
	return true, t.hold(ctx, key)
}

// noteProbes has lines written for signatures of no meaning.
func (t *Token) noteProbes(keys []Key) error {
	for _, key := range keys {
		if !key.Probed() || t.note == nil {
			continue
		}
		h := held{shown: key.Shown()}
		err := t.note(auditlog.Entry{Event: auditlog.Probe, Key: h.uri(), TokenSerial: h.serial(), Reason: "the agent had to find out which of several public keys is the key's"})
		if err != nil {
			return err
		}
	}
	return nil
}

// open opens the keys and compares them with those that the agent was started
// with.
func (t *Token) open(ctx context.Context) (*opening, error) {
	t.keeper.opening()
	keys, err := t.vault.Open(ctx, t.keeper.hand)
	t.keeper.opened(err)
	if err != nil {
		return nil, err
	}
	for i, h := range t.keys {
		if public, ok := keys[i].Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(h.public) {
			closeKeys(keys)
			return nil, &pkcs11.Error{Kind: pkcs11.KindReplaced, Message: fmt.Sprintf("the key %s has another public key than when the agent was started, so nothing was signed with it", shortURIs(t.keys)[i])}
		}
	}
	if err := t.noteProbes(keys); err != nil {
		closeKeys(keys)
		return nil, err
	}
	return &opening{keys: keys}, nil
}

func closeKeys(keys []Key) {
	for _, key := range slices.Backward(keys) {
		key.Close() // what it says comes too late
	}
}

// job is what a request has a key do.
type job struct {
	// left ends when nobody waits for it any more, and work when the agent ends.
	left, work context.Context
	// timeout is how long the module may take, for opening the token and then for the job.
	timeout time.Duration
	// turn is called when it is the job's turn.
	turn func() error
	// do does it in its turn.
	do func(context.Context, Key) error
}

// use lends a key out. Where the token, its login or the module's process was lost,
// it is opened again and the key lent out once more.
func (t *Token) use(number int, j job) error {
	for again := false; ; again = true {
		err := t.useOnce(number, j)
		if err == nil || again || j.left.Err() != nil || !mayPass(err) {
			return err
		}
	}
}

func (t *Token) useOnce(number int, j job) error {
	opening, cancel := context.WithTimeout(j.work, j.timeout)
	defer cancel()
	o, err := t.borrow(opening)
	if err != nil {
		return err
	}
	err = j.with(o.keys[number])
	t.keeper.signed(err)
	t.giveBack(o, isLost(err))
	return err
}

// with does the job with a key in its turn. From then on the module has its time,
// whatever becomes of the client: a call can't be interrupted.
func (j job) with(key Key) error {
	end, err := key.Turn(j.left)
	if gone := gone(j.left, j.work); gone != nil {
		if err == nil {
			end()
		}
		return gone
	}
	if err != nil {
		return err
	}
	defer end()
	if err := j.turn(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(j.work, j.timeout)
	defer cancel()
	return j.do(ctx, key)
}

// borrow returns what is open, and opens it where nothing is.
func (t *Token) borrow(ctx context.Context) (*opening, error) {
	select {
	case t.toOpen <- struct{}{}:
		defer func() { <-t.toOpen }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if o := t.take(nil); o != nil {
		return o, nil
	}
	o, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	return t.take(o), nil
}

// take counts a user of what is open, after it was opened if that isn't nil. It
// returns nil where nothing is open.
func (t *Token) take(opened *opening) *opening {
	t.mu.Lock()
	defer t.mu.Unlock()
	if opened != nil {
		t.current = opened
	}
	if t.current != nil {
		t.current.users++
	}
	return t.current
}

// giveBack ends the use of an opening, and the opening if it is of no more use.
func (t *Token) giveBack(o *opening, lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o.users--
	t.endOpening(o, lost)
}

// endOpening closes an opening that is over, if nobody uses it any more. t.mu is
// held.
func (t *Token) endOpening(o *opening, over bool) {
	o.over = o.over || over
	if !o.over {
		return
	}
	if t.current == o {
		t.current = nil
	}
	if o.users == 0 {
		t.closings.Go(func() { closeKeys(o.keys) })
	}
}

// Release logs out and lets go of the token as soon as no signature is being made.
// The next use opens it again, and reads the certificates anew.
func (t *Token) Release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.keys {
		h.own, h.all = nil, nil
	}
	if t.current != nil {
		t.endOpening(t.current, true)
	}
}

// Close is Release, waits until it is done, and forgets the PIN.
func (t *Token) Close() {
	t.keeper.forget()
	t.Release()
	t.closings.Wait()
}

// lostReturnValues are those after which a module, a token or a login is opened
// anew: the device, its sessions or their login are gone, or the module doesn't say.
var lostReturnValues = append([]string{
	"CKR_USER_NOT_LOGGED_IN", "CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED",
}, passing...)

// isLost reports whether what was open is of no more use after an error.
func isLost(err error) bool {
	var e *pkcs11.Error
	if !errors.As(err, &e) {
		// Where a context ended, the module's process was killed.
		return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
	switch e.Kind {
	case pkcs11.KindCrash, pkcs11.KindTimeout, pkcs11.KindClosed, pkcs11.KindReplaced:
		return true
	case pkcs11.KindCall:
		return e.Call == "C_Login" || slices.Contains(lostReturnValues, pkcs11.RVName(e.RV))
	}
	return false
}

// mayPass reports whether another try may succeed. A token that refused the PIN gets
// no other, and after a module that didn't answer in time there is no time left.
func mayPass(err error) bool {
	var e *pkcs11.Error
	return isLost(err) && errors.As(err, &e) && e.Kind != pkcs11.KindTimeout && !refusesPIN(e)
}
