#include "comm/device_mesh.h"
