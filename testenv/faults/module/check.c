// SPDX-License-Identifier: Apache-2.0

// check FILE reads a file of rules as the module does, and says what is wrong
// with it.

#include <stdio.h>

#include "rules.h"

int main(int argc, char **argv)
{
	static struct rules rules;
	char error[1024];

	if (argc != 2) {
		fprintf(stderr, "usage: %s FILE\n", argv[0]);
		return 2;
	}
	if (!rules_read(&rules, argv[1], error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	return 0;
}
