// SPDX-License-Identifier: Apache-2.0

// Package publish writes artifacts and signatures to registries and layouts so that none
// is lost, neither ours nor another writer's entry in an index.
//
// Start with [Pusher]: Push stores one signature, Settle has the last look at the
// end of a run. Where a registry has no Referrers API, a signature is found by the
// referrers index of its artifact (index.go), which many write at once and which no
// registry locks: indexwriter.go adds entries and looks whether they stay. The
// journal (journal.go) notes what is stored and not yet listed, so that the next run
// finishes what a killed one began; grace.go gives a cancelled run the time to end
// what is half done.
//
// A [Copier] copies artifacts: [MakePlan] walks a source (plan.go), Copy sends what the
// target lacks (copy.go, transfer.go), Confirm looks that all of it is still there, and
// Tag comes last (tag.go). What is guaranteed is in docs/guarantees.md.
package publish
