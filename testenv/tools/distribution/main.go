// SPDX-License-Identifier: Apache-2.0

// Command distribution is CNCF Distribution's registry with the storage in memory
// alone, so that it builds without the clients of three clouds. It serves by the
// configuration on its standard input.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
)

func main() {
	fmt.Fprintln(os.Stderr, "distribution:", serve())
	os.Exit(1)
}

func serve() error {
	config, err := configuration.Parse(os.Stdin)
	if err != nil {
		return err
	}
	r, err := registry.NewRegistry(context.Background(), config)
	if err != nil {
		return err
	}
	return r.ListenAndServe()
}
