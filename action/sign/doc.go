// SPDX-License-Identifier: Apache-2.0

// Package sign makes signature envelopes with one key, which is in a plugin or in
// files. It pushes nothing.
//
// Start with [Signer]. Its [Key] is a plugin's ([NewPluginKey]), be that built in,
// installed in notation or downloaded ([PluginSource]), or one in files
// ([OpenFileKey], which signingkeys.json of notation may name: [NamedKey]). A plugin
// is asked once a run what it is, and never again after it denied access
// (onceplugin.go). [Timestamping] has signatures countersigned. Envelopes are
// notation-go's.
package sign
