// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/notaryproject/notation-go/plugin/proto"
	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// oncePlugin is a plugin that signs many artifacts with one key. It asks the
// plugin once what it and the key are. And it is careful with the key: the first
// signature is made alone, and when the plugin says that access is denied, it is
// not asked again. A run with a wrong PIN tries it once, not once an artifact.
type oncePlugin struct {
	contract.SignPlugin

	mu       sync.Mutex
	metadata *answer[*contract.GetMetadataResponse]
	key      *answer[*contract.DescribeKeyResponse]
	denied   error

	turn  chan struct{} // held while the first signature is made
	tried bool          // a signature was; guarded by mu
}

type answer[T any] struct {
	value T
	err   error
}

func newOncePlugin(plugin contract.SignPlugin) *oncePlugin {
	return &oncePlugin{SignPlugin: plugin, turn: make(chan struct{}, 1)}
}

// GetMetadata implements contract.SignPlugin.
func (p *oncePlugin) GetMetadata(ctx context.Context, req *contract.GetMetadataRequest) (*contract.GetMetadataResponse, error) {
	return askOnce(ctx, &p.mu, &p.metadata, func() (*contract.GetMetadataResponse, error) {
		return p.SignPlugin.GetMetadata(ctx, req)
	})
}

// DescribeKey implements contract.SignPlugin.
func (p *oncePlugin) DescribeKey(ctx context.Context, req *contract.DescribeKeyRequest) (*contract.DescribeKeyResponse, error) {
	return askOnce(ctx, &p.mu, &p.key, func() (*contract.DescribeKeyResponse, error) {
		return p.SignPlugin.DescribeKey(ctx, req)
	})
}

// askOnce asks the first time, and remembers the answer, an error too: what fails
// for one artifact fails for all. Unless it was not the plugin that failed.
func askOnce[T any](ctx context.Context, mu *sync.Mutex, remembered **answer[T], ask func() (T, error)) (T, error) {
	mu.Lock()
	defer mu.Unlock()
	if *remembered == nil {
		value, err := ask()
		if err != nil && ctx.Err() != nil {
			return value, UnwrapPluginError(err)
		}
		*remembered = &answer[T]{value, UnwrapPluginError(err)}
	}
	return (*remembered).value, (*remembered).err
}

// GenerateSignature implements contract.SignPlugin.
func (p *oncePlugin) GenerateSignature(ctx context.Context, req *contract.GenerateSignatureRequest) (*contract.GenerateSignatureResponse, error) {
	return carefully(ctx, p, func() (*contract.GenerateSignatureResponse, error) {
		return p.SignPlugin.GenerateSignature(ctx, req)
	})
}

// GenerateEnvelope implements contract.SignPlugin.
func (p *oncePlugin) GenerateEnvelope(ctx context.Context, req *contract.GenerateEnvelopeRequest) (*contract.GenerateEnvelopeResponse, error) {
	return carefully(ctx, p, func() (*contract.GenerateEnvelopeResponse, error) {
		return p.SignPlugin.GenerateEnvelope(ctx, req)
	})
}

// carefully uses the key.
func carefully[T any](ctx context.Context, p *oncePlugin, use func() (T, error)) (result T, err error) {
	first, err := p.enter(ctx)
	if err != nil {
		return result, err
	}
	if first {
		defer func() { <-p.turn }()
	}
	result, err = use()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tried = true
	if isDenied(err) {
		p.denied = UnwrapPluginError(err)
	}
	return result, UnwrapPluginError(err)
}

// enter waits until the first signature has been tried. It says whether this is
// that try, and returns an error if the key is not to be used again.
func (p *oncePlugin) enter(ctx context.Context) (first bool, err error) {
	if tried, err := p.state(); tried {
		return false, err
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if tried, err := p.state(); tried {
		<-p.turn
		return false, err
	}
	return true, nil
}

func (p *oncePlugin) state() (tried bool, denied error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tried, p.denied
}

// pluginError is an error that a plugin answered with, told to people.
type pluginError struct {
	code    contract.ErrorCode
	message string
}

func (e *pluginError) Error() string {
	message := strings.TrimSuffix(e.message, ".")
	if e.code == contract.ErrorCodeGeneric {
		return message
	}
	return fmt.Sprintf("%s (%s)", message, e.code)
}

// UnwrapPluginError turns the two ways in which plugins' errors come into one that reads
// well. Other errors stay what they are.
func UnwrapPluginError(err error) error {
	var inProcess *contract.Error
	if errors.As(err, &inProcess) {
		return &pluginError{inProcess.ErrCode, inProcess.Message}
	}
	var ofProcess proto.RequestError
	if errors.As(err, &ofProcess) && ofProcess.Err != nil {
		return &pluginError{ofProcess.Code, ofProcess.Err.Error()}
	}
	return err
}

func isDenied(err error) bool {
	var e *pluginError
	return errors.As(UnwrapPluginError(err), &e) && e.code == contract.ErrorCodeAccessDenied
}
