// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/notation-pkcs11/notation-pkcs11/action/envelope"

	pluginmanager "github.com/notaryproject/notation-go/plugin"
	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// plugins are the verification plugins that signatures may ask for by name. It
// implements the Manager of notation-go.
type plugins struct {
	installed pluginmanager.Manager
}

// pluginNames are the names that can't lead out of the plugin directory: a
// signature names its plugin before its signer is known.
var pluginNames = regexp.MustCompile(`^[a-zA-Z0-9_-][a-zA-Z0-9_.-]*$`)

// Get returns a plugin.
func (p plugins) Get(ctx context.Context, name string) (plugin.Plugin, error) {
	if !pluginNames.MatchString(name) {
		return nil, fmt.Errorf("%q is no name of a plugin", envelope.Clip(name))
	}
	if p.installed == nil {
		return nil, errors.New("this run has no verification plugins")
	}
	return p.installed.Get(ctx, name)
}

// List is not called to verify.
func (p plugins) List(ctx context.Context) ([]string, error) {
	if p.installed == nil {
		return nil, nil
	}
	return p.installed.List(ctx)
}

// silentPlugins are the same plugins for the second look at a signature, which
// only explains: they say what they can do, and are not given the signature.
// They had it in the first look, or the signature failed before.
type silentPlugins struct{ plugins }

// Get returns a plugin, also where there is none.
func (p silentPlugins) Get(ctx context.Context, name string) (plugin.Plugin, error) {
	found, err := p.plugins.Get(ctx, name)
	if err != nil {
		return silentPlugin{absentPlugin{}}, nil
	}
	return silentPlugin{found}, nil
}

// silentPlugin says what a plugin can do and does not do it.
type silentPlugin struct{ plugin.Plugin }

// errPluginNotAsked ends the second look at a signature.
var errPluginNotAsked = errors.New("the verification plugin was not asked")

// VerifySignature implements plugin.VerifyPlugin.
func (silentPlugin) VerifySignature(context.Context, *plugin.VerifySignatureRequest) (*plugin.VerifySignatureResponse, error) {
	return nil, errPluginNotAsked
}

// absentPlugin stands for a plugin that is not there. It claims one of the two
// things that a plugin can take over, for it must claim one; notation-go then
// does the rest.
type absentPlugin struct{ plugin.Plugin }

// GetMetadata implements plugin.GenericPlugin.
func (absentPlugin) GetMetadata(context.Context, *plugin.GetMetadataRequest) (*plugin.GetMetadataResponse, error) {
	return &plugin.GetMetadataResponse{
		Version:      "9999.0.0", // no signature asks for a newer one
		Capabilities: []plugin.Capability{plugin.CapabilityRevocationCheckVerifier},
	}, nil
}
