// SPDX-License-Identifier: Apache-2.0

// The functions by which the module and the one behind come and go.

#ifndef FAULTS_LIFECYCLE_H
#define FAULTS_LIFECYCLE_H

#include "cryptoki.h"

CK_RV get_function_list(CK_FUNCTION_LIST **list);
CK_RV initialize(const CK_C_INITIALIZE_ARGS *args);
CK_RV finalize(void *reserved);

#endif
