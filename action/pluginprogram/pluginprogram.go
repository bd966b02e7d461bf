// SPDX-License-Identifier: Apache-2.0

// Package pluginprogram speaks to plugins that are executables, as notation-go does, and
// ends them with the run, which notation-go does not: a child of a plugin can keep it
// waiting for ever.
//
// Start with [Installed], which finds the plugins that are installed in notation, or
// [Open]. The contract is the Notary Project's "Plugin Extensibility"; what a plugin
// answers is checked like notation-go checks it.
package pluginprogram

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	notationplugin "github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-go/plugin/proto"
	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/internal/program"
)

// maxOutput is what is read of a plugin's answer; notation's limit too.
const maxOutput = 64 << 20

// Installed are the plugins in a directory of notation's, each in one of its own. It
// implements the Manager of notation-go.
type Installed string

// Get returns a plugin by its name.
func (d Installed) Get(_ context.Context, name string) (contract.Plugin, error) {
	return Open(name, filepath.Join(string(d), name, FileName(name)))
}

// List is not called to verify, nor to sign.
func (d Installed) List(context.Context) ([]string, error) {
	return nil, errors.New("plugins are asked for by their names")
}

// FileName is what notation wants a plugin's executable to be called.
func FileName(plugin string) string {
	name := contract.BinaryPrefix + plugin
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return name
}

// Plugin is a plugin that is an executable. It implements contract.Plugin.
type Plugin struct{ name, path string }

// Open returns the plugin of a name at a path. It is not run yet.
func Open(name, path string) (*Plugin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("plugin executable file is either not found or inaccessible: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, notationplugin.ErrNotRegularFile
	}
	return &Plugin{name, path}, nil
}

// GetMetadata implements contract.GenericPlugin.
func (p *Plugin) GetMetadata(ctx context.Context, req *contract.GetMetadataRequest) (*contract.GetMetadataResponse, error) {
	metadata, err := ask[contract.GetMetadataResponse](ctx, p, req)
	if err != nil {
		return nil, err
	}
	if err := validate(metadata); err != nil {
		return nil, &notationplugin.PluginMalformedError{Msg: fmt.Sprintf("metadata validation failed for plugin %s: %s", p.name, err), InnerError: err}
	}
	if metadata.Name != p.name {
		return nil, fmt.Errorf("plugin executable file name must be %q instead of %q", FileName(metadata.Name), filepath.Base(p.path))
	}
	return metadata, nil
}

// DescribeKey implements contract.SignPlugin.
func (p *Plugin) DescribeKey(ctx context.Context, req *contract.DescribeKeyRequest) (*contract.DescribeKeyResponse, error) {
	setVersion(&req.ContractVersion)
	return ask[contract.DescribeKeyResponse](ctx, p, req)
}

// GenerateSignature implements contract.SignPlugin.
func (p *Plugin) GenerateSignature(ctx context.Context, req *contract.GenerateSignatureRequest) (*contract.GenerateSignatureResponse, error) {
	setVersion(&req.ContractVersion)
	return ask[contract.GenerateSignatureResponse](ctx, p, req)
}

// GenerateEnvelope implements contract.SignPlugin.
func (p *Plugin) GenerateEnvelope(ctx context.Context, req *contract.GenerateEnvelopeRequest) (*contract.GenerateEnvelopeResponse, error) {
	setVersion(&req.ContractVersion)
	return ask[contract.GenerateEnvelopeResponse](ctx, p, req)
}

// VerifySignature implements contract.VerifyPlugin.
func (p *Plugin) VerifySignature(ctx context.Context, req *contract.VerifySignatureRequest) (*contract.VerifySignatureResponse, error) {
	setVersion(&req.ContractVersion)
	return ask[contract.VerifySignatureResponse](ctx, p, req)
}

func setVersion(version *string) {
	if *version == "" {
		*version = contract.ContractVersion
	}
}

// ask runs the plugin for one request.
func ask[T any](ctx context.Context, p *Plugin, req contract.Request) (*T, error) {
	request, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("plugin %s, %s: %w", p.name, req.Command(), err)
	}
	stdout, stderr, err := program.Output(ctx, maxOutput, request, p.path, string(req.Command()))
	switch {
	case err != nil && (ctx.Err() != nil || len(stderr) == 0):
		return nil, &notationplugin.PluginExecutableFileError{InnerError: err}
	case err != nil:
		var answer proto.RequestError
		if err := json.Unmarshal(stderr, &answer); err != nil {
			return nil, &notationplugin.PluginMalformedError{InnerError: err}
		}
		return nil, answer
	}
	response := new(T)
	if err := json.Unmarshal(stdout, response); err != nil {
		return nil, &notationplugin.PluginMalformedError{Msg: fmt.Sprintf("failed to unmarshal the response of %s command for plugin %s", req.Command(), p.name), InnerError: err}
	}
	return response, nil
}

// validate checks what a plugin says of itself.
func validate(m *contract.GetMetadataResponse) error {
	for _, member := range []struct{ name, value string }{{"name", m.Name}, {"description", m.Description}, {"version", m.Version}, {"url", m.URL}} {
		if member.value == "" {
			return fmt.Errorf("empty %s", member.name)
		}
	}
	switch {
	case len(m.Capabilities) == 0:
		return errors.New("empty capabilities")
	case len(m.SupportedContractVersions) == 0:
		return errors.New("supported contract versions not specified")
	case !slices.Contains(m.SupportedContractVersions, contract.ContractVersion):
		return fmt.Errorf("contract version %q is not in the list of the plugin supported versions %v", contract.ContractVersion, m.SupportedContractVersions)
	}
	return nil
}
