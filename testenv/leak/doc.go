// SPDX-License-Identifier: Apache-2.0

// Package leak finds secrets where they don't belong.
//
// Start with [NewFinder], which finds secrets in bytes, however they are encoded.
// [Trace] runs a command under strace and finds them in everything that any of its
// processes could have carried them out with: arguments, environments, names of
// files, and what was written to files, pipes, terminals and sockets.
//
// It does not see memory that processes share, nor what is encrypted. The secrets
// to look for are made up, so that they are found nowhere by chance.
package leak
