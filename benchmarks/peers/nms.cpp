// Greedy suppression as torchvision's operator for CPU does it, for where that is not
// compiled: falling scores, of equal ones the first first, and IoUs above the threshold.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

extern "C" int64_t nms(const float* boxes, const float* scores, int64_t count,
                       double threshold, int64_t* kept) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  std::vector<float> left(count), top(count), right(count), bottom(count), area(count);
  for (int64_t i = 0; i < count; i++) {
    const float* box = boxes + 4 * order[i];
    left[i] = box[0], top[i] = box[1], right[i] = box[2], bottom[i] = box[3];
    area[i] = (box[2] - box[0]) * (box[3] - box[1]);
  }
  std::vector<uint8_t> suppressed(count, 0);
  int64_t found = 0;
  for (int64_t i = 0; i < count; i++) {
    if (suppressed[i]) continue;
    kept[found++] = order[i];
    for (int64_t j = i + 1; j < count; j++) {
      if (suppressed[j]) continue;
      float width = std::min(right[i], right[j]) - std::max(left[i], left[j]);
      float height = std::min(bottom[i], bottom[j]) - std::max(top[i], top[j]);
      float common = std::max(0.f, width) * std::max(0.f, height);
      if (common / (area[i] + area[j] - common) > threshold) suppressed[j] = 1;
    }
  }
  return found;
}
