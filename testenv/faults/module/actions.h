// SPDX-License-Identifier: Apache-2.0

// What a vendor's library does that it should not.

#ifndef FAULTS_ACTIONS_H
#define FAULTS_ACTIONS_H

#include "rules.h"

// perform performs an action that has nothing to do with the answer of a call.
// hang, crash, abort and exit do not return.
void perform(enum action action, unsigned long argument);

#endif
