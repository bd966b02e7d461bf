// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"slices"

	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// check returns what is wrong with the inputs taken together.
func (in *inputs) check() []error {
	var faults []error
	for _, rule := range inputRules {
		if rule.broken(in) {
			faults = append(faults, errors.New(rule.text))
		}
	}
	if len(faults) == 0 {
		var err error
		if in.destinations, err = in.findDestinations(); err != nil {
			faults = append(faults, err)
		}
	}
	return faults
}

// inputRules say which inputs go together.
var inputRules = []struct {
	broken func(in *inputs) bool
	text   string
}{
	{
		func(in *inputs) bool { return len(in.targets) == 0 },
		"target_artifact_reference is missing; give at least one reference, such as registry.example/app@sha256:…",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.keyID == "" && in.keyName == "" },
		"no key to sign with; set key_id, such as pkcs11:token=Release;object=signing, or key_name",
	},
	{
		func(in *inputs) bool { return in.keyID != "" && in.keyName != "" },
		"key_id and key_name are both set; set only one",
	},
	{
		func(in *inputs) bool { return in.keyName != "" && in.pluginName != builtInPlugin },
		"key_name and plugin_name are both set; remove plugin_name, since signingkeys.json names the key's plugin",
	},
	{
		func(in *inputs) bool { return in.keyName != "" && in.pluginURL != "" },
		"key_name and plugin_url are both set; use key_id with plugin_url",
	},
	{
		func(in *inputs) bool { return in.pluginName != builtInPlugin && in.hasTokenInputs() },
		"pin, module and cert_chain are for the built-in plugin pkcs11; configure other plugins with plugin_config",
	},
	{
		func(in *inputs) bool { return in.pluginName != builtInPlugin && in.auditLog != "" },
		"audit_log is for the built-in plugin pkcs11; remove it, or use that plugin",
	},
	{
		func(in *inputs) bool { return in.auditLog != "" && has(in.pluginConfig, "audit_log") },
		"audit_log is set twice, in plugin_config too; set it once",
	},
	{
		func(in *inputs) bool { return in.module != "" && has(in.pluginConfig, "module") },
		"module is set twice, in plugin_config too; set it once",
	},
	{
		func(in *inputs) bool { return in.certChain != "" && has(in.pluginConfig, "cert_chain") },
		"cert_chain is set twice, in plugin_config too; set it once",
	},
	{
		func(in *inputs) bool { return !in.pin.Empty() && has(in.pluginConfig, "pin_source") },
		"pin and, in plugin_config, pin_source are both set; set only one",
	},
	{
		func(in *inputs) bool { return (in.pluginURL == "") != (in.pluginChecksum == "") },
		"plugin_url and plugin_checksum go together; set both or none",
	},
	{
		func(in *inputs) bool { return in.pluginURL != "" && in.pluginName == builtInPlugin },
		"plugin_url is set and plugin_name is not; set plugin_name, since pkcs11 is built in and is not downloaded",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.timestampURL != "" && in.timestampRootCert == "" },
		"timestamp_url is set and timestamp_root_cert is not; set it to the root certificate of the TSA",
	},
	{
		func(in *inputs) bool {
			return in.mode == modeSign && in.timestampURL == "" && in.timestampRootCert != ""
		},
		"timestamp_root_cert is set and timestamp_url is not; set both or none",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.renewWithin > 0 && !in.skipSigned },
		"renew_within is set and skip_signed is not; set skip_signed, without which each run makes a signature",
	},
	{
		func(in *inputs) bool { return in.mode.signs() && in.expiry > 0 && in.expiry <= in.renewWithin },
		"expiry is not longer than renew_within, so each run would sign again; set a longer expiry or a shorter renew_within",
	},
	{
		func(in *inputs) bool { return (in.registryUsername == "") != in.registryPassword.Empty() },
		"registry_username and registry_password go together; set both or none",
	},
	{
		func(in *inputs) bool { return (in.sourceUsername == "") != in.sourcePassword.Empty() },
		"source_registry_username and source_registry_password go together; set both or none",
	},
	{
		func(in *inputs) bool { return in.sourceUsername != "" && len(in.sourceReferences()) == 0 },
		"source_registry_username is set, and no source is in a registry; remove it",
	},
	{
		func(in *inputs) bool { return len(in.sources) > 0 && !in.mode.writes() },
		"source is set, and the modes verify and inspect write nothing; use one of sign, sign-and-verify, promote",
	},
	{
		func(in *inputs) bool { return len(in.tags) > 0 && !in.mode.writes() },
		"tags is set, and the modes verify and inspect write nothing; use one of sign, sign-and-verify, promote",
	},
	{
		func(in *inputs) bool { return len(in.attach) > 0 && !in.mode.signs() },
		"attach is set, and what is attached is signed; use one of sign, sign-and-verify",
	},
	{
		func(in *inputs) bool {
			isLayout := func(target string) bool { _, is := registry.LayoutPath(target); return is }
			return in.trustPolicyScope != (orasregistry.Reference{}) && !slices.ContainsFunc(slices.Concat(in.targets, in.tags), isLayout)
		},
		"trust_policy_scope is set, and no target is an OCI image layout; remove it, since a repository has its statement by its name",
	},
	{
		func(in *inputs) bool { return len(in.requiredReferrers) > 0 && !in.mode.verifies() },
		"required_referrers is set, and the mode does not verify; use one of verify, sign-and-verify, promote",
	},
	{
		func(in *inputs) bool { return in.mode == modePromote && len(in.sources) == 0 },
		"mode is promote, and source is missing; set it to the artifact to promote",
	},
	{
		func(in *inputs) bool { return len(in.sources) > 1 && len(in.sources) != len(in.targets) },
		"source has several lines, but not as many as target_artifact_reference; give one source, or one per target",
	},
	{
		func(in *inputs) bool {
			return len(in.tags) > 0 && (len(in.sources) > 1 || len(in.sources) == 0 && len(in.targets) > 1)
		},
		"tags are for one artifact, and there are several; give one source, or one target without a source",
	},
}

func (in *inputs) hasTokenInputs() bool {
	return !in.pin.Empty() || in.module != "" || in.certChain != ""
}

func has(m map[string]string, key string) bool {
	_, present := m[key]
	return present
}
