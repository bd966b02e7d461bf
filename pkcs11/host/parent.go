// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// process is a running module host, as its parent sees it.
type process struct {
	pipe
	module      string // path
	pin         pkcs11.PINFunc
	askEachTime bool // as Config.AskEachTime
	log         *slog.Logger
	command     *exec.Cmd
	replies     *os.File
	output      *capture
	calls       recorder
	removeCalls func()
	deadline    time.Time // of the opening
	closing     closing

	gone     context.Context // until the child is gone
	setGone  context.CancelFunc
	done     chan struct{} // closed when it is reaped and all that it sent is handled
	inFlight string        // the calls that it had not returned from, then

	logged atomic.Int64   // calls since the last request
	logins atomic.Int64   // for which the child asked since then
	asking atomic.Bool    // for the PIN
	asked  sync.WaitGroup // until the answer is there

	mu      sync.Mutex
	lastID  uint64
	waiting map[uint64]chan reply
	reaped  bool

	// Of receiveAll, and after done is closed of everybody.
	toldPIN bool    // the child has asked for the PIN
	refused refusal // what the child sent that was not taken, which ended it
}

// start starts a module host.
func start(c Config) (_ *process, err error) {
	p := &process{module: c.Module, pin: c.PIN, askEachTime: c.AskEachTime, log: c.Log, done: make(chan struct{}), waiting: map[uint64]chan reply{}}
	p.gone, p.setGone = context.WithCancel(context.Background())
	walls, ruleset, err := c.walls()
	if err != nil {
		return nil, err
	}
	defer ruleset.Close() // which may be none
	var pipes [3]struct{ read, write *os.File }
	for i := range pipes {
		if err == nil {
			pipes[i].read, pipes[i].write, err = os.Pipe()
		}
	}
	requests, replies, output := pipes[0], pipes[1], pipes[2]
	defer func() {
		for _, f := range []*os.File{requests.read, replies.write, output.write} {
			f.Close() // the child has its own copies by now
		}
		if err != nil {
			for _, f := range []*os.File{requests.write, replies.read, output.read} {
				f.Close()
			}
			if !pkcs11.IsKind(err, pkcs11.KindConfig) {
				err = notStarted(err)
			}
		}
	}()
	if err == nil {
		err = checkThreads()
	}
	if err != nil {
		return nil, err
	}
	if p.calls.file, p.removeCalls, err = recorderFile(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.calls.file.Close()
			p.removeCalls()
		}
	}()
	if p.command, err = inherit(walls, requests.read, replies.write, p.calls.file, ruleset); err != nil {
		return nil, err
	}
	if c.Trace != "" {
		if err = underTrace(p.command, c.Trace); err != nil {
			return nil, err
		}
	}
	p.command.Stdout, p.command.Stderr = output.write, output.write
	p.command.Env = environment(os.Environ(), c.SecretEnv)
	p.in, p.out, p.replies = replies.read, requests.write, replies.read
	if err = p.command.Start(); err != nil {
		return nil, err
	}
	p.output = captureOutput(output.read, c.ModuleLog)
	go p.reap()
	go p.receiveAll()
	return p, nil
}

// reap waits for the end of the child and kills what it started. Such processes
// can have the pipes open, so the end of the child is not that of the pipes.
func (p *process) reap() {
	awaitEnd(p.command)
	p.mu.Lock()
	defer p.mu.Unlock()
	kill(p.command.Process)
	p.command.Wait()
	p.reaped = true
	p.setGone()
	p.replies.SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // enough for what is in the pipe
}

// kill ends the child, and what it started. It never meets another process that
// has got the same number, since the child isn't reaped yet.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		kill(p.command.Process)
	}
}

// receiveAll handles what the child sends until it is gone. The module shares the
// child's memory, and can send what it likes: what is not part of the protocol ends
// the child.
func (p *process) receiveAll() {
	for {
		t, body, err := p.receive()
		if err == nil {
			err = p.handle(t, body)
		}
		if err != nil {
			errors.As(err, &p.refused)
			break
		}
	}
	p.kill()
	<-p.gone.Done()
	p.output.finish()
	p.inFlight = strings.Join(p.calls.calls(), ", ")
	p.calls.file.Close()
	p.removeCalls()
	p.in.Close()
	p.out.Close()
	close(p.done)
}

func (p *process) handle(t frameType, body []byte) error {
	switch t {
	case frameCall:
		if p.log == nil {
			return refusal("it reported a call without being asked to")
		}
		var c finishedCall
		if err := json.Unmarshal(body, &c); err != nil {
			return malformed(err)
		}
		if !isCall(c.Call) {
			return refusal("it reported a call of no function that is in use")
		}
		if p.logged.Add(1) > maxCalls {
			return refusal(fmt.Sprintf("it reported more than %d calls", maxCalls))
		}
		attributes := []any{"function", c.Call, "rv", pkcs11.RVName(c.RV), "duration", time.Duration(c.Nanoseconds)}
		if c.Wrong != nil {
			attributes = append(attributes, "wrong", c.Wrong.String())
		}
		p.log.Debug("call", attributes...)
	case frameAsk:
		if err := p.checkQuestion(); err != nil {
			return err
		}
		p.toldPIN = true
		var token pkcs11.TokenInfo
		if err := json.Unmarshal(body, &token); err != nil {
			return malformed(err)
		}
		p.asking.Store(true)
		p.asked.Go(func() { p.answerPIN(token) }) // it may wait for a person
	case frameReply:
		var r reply
		if err := json.Unmarshal(body, &r); err != nil {
			return malformed(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		c, known := p.waiting[r.ID]
		if !known {
			return refusal("it sent a reply to no request")
		}
		delete(p.waiting, r.ID)
		c <- r
	default:
		return refusal(fmt.Sprintf("it sent a frame of the unknown type %q", t))
	}
	return nil
}

// checkQuestion returns why the child may not ask for the PIN now. There is one token in a
// child's life, and one login: more where each asks, one at a time, for what it is to do.
func (p *process) checkQuestion() error {
	switch {
	case !p.askEachTime && p.toldPIN:
		return refusal("it asked for the PIN a second time")
	case !p.askEachTime:
		return nil
	case p.asking.Load():
		return refusal("it asked for the PIN while it was asked for")
	case p.logins.Add(1) > maxLogins:
		return refusal(fmt.Sprintf("it asked for the PIN more than %d times", maxLogins))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		return refusal("it asked for the PIN of no request")
	}
	return nil
}

func malformed(err error) error {
	return refusal(fmt.Sprintf("it sent a frame that can't be read: %v", err))
}

// answerPIN sends the PIN and forgets it.
func (p *process) answerPIN(token pkcs11.TokenInfo) {
	pin, err := p.pin(p.gone, token)
	defer pin.Wipe()
	if p.gone.Err() != nil {
		return // there is nobody to answer
	}
	p.asking.Store(false)
	// If sending fails the child is gone, which others notice.
	if err != nil {
		p.send(frameNoPIN, asError(err))
		return
	}
	p.output.words.seal()
	if err := pin.Lock(); err != nil && p.log != nil {
		p.log.Debug("the PIN's memory is not locked against swapping", "error", err)
	}
	p.sendPIN(pin.Reveal())
}

// call has the child do an operation. When ctx ends before, the child is
// killed: a call into a module can't be interrupted otherwise.
func (p *process) call(ctx context.Context, o operation, parameters, result any) error {
	document, err := json.Marshal(parameters)
	if err != nil {
		return err
	}
	answers := make(chan reply, 1)
	p.mu.Lock()
	p.lastID++
	id := p.lastID
	p.waiting[id] = answers
	p.mu.Unlock()
	p.logged.Store(0)
	p.logins.Store(0)
	// A child that is gone is noticed below; one that doesn't read must not
	// block this goroutine.
	go p.send(frameRequest, request{id, o, document})

	select {
	case answer := <-answers:
		return finish(answer, result)
	case <-p.done:
		p.wait()
		select {
		case answer := <-answers: // sent just before the end
			return finish(answer, result)
		default:
			return p.died()
		}
	case <-ctx.Done():
		return p.late(ctx)
	}
}

// terminate kills the child and waits until it is gone, and nobody is asked for a
// PIN any more.
func (p *process) terminate() {
	p.kill()
	p.wait()
}

// wait waits until the child is gone. Whoever is being asked for a PIN is let
// go, so that the terminal is as it was.
func (p *process) wait() {
	<-p.done
	p.asked.Wait()
}

func finish(answer reply, result any) error {
	if answer.Error != nil {
		return answer.Error
	}
	return json.Unmarshal(answer.Result, result)
}

// where says, for a sentence, which calls the child has not returned from.
func (p *process) where() string {
	if p.inFlight == "" {
		return "outside of any PKCS#11 function"
	}
	return "in " + p.inFlight
}

func (p *process) late(ctx context.Context) error {
	asking := p.asking.Load()
	p.terminate()
	if errors.Is(ctx.Err(), context.Canceled) && asking {
		return fmt.Errorf("interrupted: %w", ctx.Err()) // the module has nothing to do with it
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("interrupted while the PKCS#11 module %q was %s: %w", p.module, p.where(), ctx.Err())
	}
	if asking {
		return &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "the PIN was not typed in time"}
	}
	return &pkcs11.Error{Kind: pkcs11.KindTimeout, Call: p.inFlight, Message: fmt.Sprintf("the PKCS#11 module %q did not answer in time", p.module)}
}

func (p *process) died() error {
	if p.refused != "" {
		return &pkcs11.Error{Kind: pkcs11.KindCrash, Message: fmt.Sprintf("the process of the PKCS#11 module %q was ended %s: %s",
			p.module, p.where(), p.refused)}
	}
	if p.command.ProcessState.ExitCode() == exitNoWalls && p.inFlight == "" {
		return wallError("the PKCS#11 module %q was not loaded, since the walls around its process (no_new_privs, sandbox) can't be set", p.module)
	}
	if what := p.output.words.want(); what != "" {
		return &pkcs11.Error{Kind: pkcs11.KindResources, Message: fmt.Sprintf("the process for the PKCS#11 module %q ended, since this machine or a limit on it leaves no more: %s", p.module, what)}
	}
	return &pkcs11.Error{Kind: pkcs11.KindCrash, Message: fmt.Sprintf("the PKCS#11 module %q ended its process %s (%s)",
		p.module, p.where(), p.output.causeOfDeath(p.command.ProcessState))}
}

// stop has the child close what it opened, for as long as it may take, and
// waits until it is gone.
func (p *process) stop() error {
	ctx, cancel := p.closing(p.deadline)
	defer cancel()
	err := p.call(ctx, opClose, struct{}{}, &struct{}{})
	p.out.Close() // at which the child exits
	select {
	case <-p.done:
		p.wait()
	case <-ctx.Done():
		p.terminate()
	}
	return err
}
