// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// registryKind is a kind of registry to sign on.
type registryKind struct {
	name  string
	start func() (*testenv.Registry, error)
}

// registryKinds are a registry with the Referrers API and one without.
func registryKinds(choice string) ([]registryKind, error) {
	withAPI := registryKind{"A registry with the Referrers API", testenv.NewRegistry}
	switch choice {
	case "":
		return []registryKind{withAPI, {"A registry without the Referrers API", testenv.NewTagSchemaRegistry}}, nil
	case "registry2":
		return []registryKind{withAPI, {"docker-registry, which has no Referrers API", testenv.NewDockerRegistry}}, nil
	}
	return nil, fmt.Errorf("DEMO_REGISTRY is %q: want registry2 or nothing", choice)
}
