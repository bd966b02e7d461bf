// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// runCommand runs the commands for people and returns the exit code.
func runCommand(ctx context.Context, args []string) int {
	root := &cobra.Command{
		Use:   "notation-pkcs11",
		Short: "Sign with keys in PKCS#11 tokens and HSMs",
		Long: `notation-pkcs11 is a plugin for the notation CLI. It signs container images and
other OCI artifacts with keys in PKCS#11 tokens and HSMs. The keys stay there.

Install it into notation, name a key, sign:

  notation plugin install --file /path/to/notation-pkcs11
  notation key add release --plugin pkcs11 \
      --id 'pkcs11:token=LABEL;object=LABEL' \
      --plugin-config module=/usr/lib/softhsm/libsofthsm2.so \
      --plugin-config pin_source=file:/path/to/pin
  notation sign --key release registry.example/image@sha256:...`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return err
		},
	})
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\nhint: notation-pkcs11 --help lists the commands\n", err)
		return 1
	}
	return 0
}
